"""What each command does, apart from parsing and printing: a module a command or a group of them."""
