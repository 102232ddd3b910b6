//! placeholder
pub mod csr;
pub mod issue;
pub mod pake;
pub mod pkcs7;
