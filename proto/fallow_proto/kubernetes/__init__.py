"""What an agent beside a kubelet and a collector beside a scheduler must agree on."""
