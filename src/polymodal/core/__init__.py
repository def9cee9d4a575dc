"""Types, registry, errors, runtime and bundles. Knows no modality."""
