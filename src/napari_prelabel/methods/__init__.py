"""Segmentation methods: pure functions on tensors."""
