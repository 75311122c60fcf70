"""One file per experiment: `base.py` declares every field, the others change what defines them."""
