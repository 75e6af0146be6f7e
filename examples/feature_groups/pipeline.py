"""Tell benign from malignant tumours by a scikit-learn pipeline, from some of the three groups of features."""

import argparse
import json

from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

GROUPS = {"mean": slice(0, 10), "error": slice(10, 20), "worst": slice(20, 30)}

parser = argparse.ArgumentParser()
parser.add_argument("--features", nargs="+", choices=GROUPS, default=list(GROUPS))
parser.add_argument("--C", type=float, default=1.0)
parser.add_argument("--seed", type=int, default=0, help="of the split")
parser.add_argument("--metrics", default="metrics.json")
args = parser.parse_args()

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=args.seed)
columns = ColumnTransformer([(name, StandardScaler(), GROUPS[name]) for name in args.features])
model = make_pipeline(columns, LogisticRegression(C=args.C, max_iter=1000))
cv = cross_val_score(model, X_train, y_train, scoring="roc_auc").mean()
model.fit(X_train, y_train)
auc = roc_auc_score(y_test, model.decision_function(X_test))
print(f"{args.features}: cross-validation {cv:.4f}, test {auc:.4f}")
with open(args.metrics, "w") as file:
    json.dump({"cv_auc": float(cv), "test_auc": float(auc)}, file)
