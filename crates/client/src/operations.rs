//! What an operator looks at: workspace, diagnostics, metrics, usage, audit.
