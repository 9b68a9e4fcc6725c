"""What is trained and measured. One so far: image classification."""
