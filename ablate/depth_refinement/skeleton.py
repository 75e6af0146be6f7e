"""COCO-17: joint order, left/right pairs, bones, detector sigmas. Numbers only; imports nothing."""

from __future__ import annotations

JOINTS = (
    "nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow",
    "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle",
)  # fmt: skip
NUM_JOINTS = len(JOINTS)
INDEX = {name: i for i, name in enumerate(JOINTS)}

NOSE, L_EYE, R_EYE, L_EAR, R_EAR = range(5)
L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW, L_WRIST, R_WRIST = range(5, 11)
L_HIP, R_HIP, L_KNEE, R_KNEE, L_ANKLE, R_ANKLE = range(11, 17)

# Index of the mirror-image joint: x[..., MIRROR, :] swaps left and right.
MIRROR = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)

FACE = (NOSE, L_EYE, R_EYE, L_EAR, R_EAR)
ARMS = (L_ELBOW, R_ELBOW, L_WRIST, R_WRIST)
LEGS = (L_KNEE, R_KNEE, L_ANKLE, R_ANKLE)

# Limbs from root to tip. Errors grow along a limb, and those of neighbours are correlated.
LIMBS = (
    (L_SHOULDER, L_ELBOW, L_WRIST),
    (R_SHOULDER, R_ELBOW, R_WRIST),
    (L_HIP, L_KNEE, L_ANKLE),
    (R_HIP, R_KNEE, R_ANKLE),
)

# Joint pairs whose distance is (nearly) constant.
BONES = (
    (L_SHOULDER, L_ELBOW), (L_ELBOW, L_WRIST), (R_SHOULDER, R_ELBOW), (R_ELBOW, R_WRIST),
    (L_HIP, L_KNEE), (L_KNEE, L_ANKLE), (R_HIP, R_KNEE), (R_KNEE, R_ANKLE),
    (L_SHOULDER, R_SHOULDER), (L_HIP, R_HIP), (L_SHOULDER, L_HIP), (R_SHOULDER, R_HIP),
)  # fmt: skip
# Left bone, right bone: indexes into BONES that should have equal length.
SYMMETRIC_BONES = ((0, 2), (1, 3), (4, 6), (5, 7), (10, 11))

# COCO keypoint sigmas in joint order (pycocotools, cocoeval.py); per-axis SD = sigma · sqrt(area) / sqrt(2).
SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
