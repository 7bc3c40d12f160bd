"""The collector's own certificate authority: made, used and kept here; operators may bring their own instead."""
