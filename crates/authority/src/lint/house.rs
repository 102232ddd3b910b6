//! Demanded by this product.

pub(super) mod identity;
pub(super) mod issuer_fits_purpose;
pub(super) mod serial_entropy;
pub(super) mod validity;
