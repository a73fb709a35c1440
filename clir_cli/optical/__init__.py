"""The paper: transport plans, objectives of distillation, marginals, dictionaries from plans."""
