//! Secret references, secret managers, envelope encryption under a KMS.
