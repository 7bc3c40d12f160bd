"""Reports and events that wait on disk until the collector's store has them."""
