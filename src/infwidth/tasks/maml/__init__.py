"""Few-shot classification by model-agnostic meta-learning."""
