"""PyTorch's files: zip, legacy, TorchScript, torch.export, distributed checkpoints."""
