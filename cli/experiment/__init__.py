"""The main road: Experiment → dense checkpoint → saliency → masks → evaluation → store.

Modules below this one import torch only inside functions that run in workers, so that the driver, `status`,
`export` and `--help` stay quick.
"""
