"""The spinal cord: where it is, its outline, its levels, its shape."""
