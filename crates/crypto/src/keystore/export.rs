//! Keys as PKCS#8 PEM, for the file that hands one over.

use crate::secret::{Secret, Strength};
use crate::signature::{KeyHandle, SignatureAlgorithm, SignatureError, generate_pkcs8};

/// A key whose private half may leave as PKCS#8 PEM, because the file is what somebody asked for.
///
/// # Errors
/// [`SignatureError::Backend`] on a broken platform.
pub fn exportable_key(
    algorithm: SignatureAlgorithm,
) -> Result<(KeyHandle, Secret), SignatureError> {
    let pkcs8 = generate_pkcs8(algorithm)?;
    let handle = KeyHandle::from_pkcs8(algorithm, &pkcs8)?;
    let pem = pkcs8
        .expose(|bytes| der::pem::encode_string("PRIVATE KEY", der::pem::LineEnding::LF, bytes));
    let pem = pem.map_err(|_| SignatureError::Backend)?;
    Ok((handle, Secret::new(pem.into_bytes(), Strength(algorithm.strength().0))))
}

/// Reads a PKCS#8 PEM private key, as [`exportable_key`] writes it.
///
/// # Errors
/// [`SignatureError::Key`] when the text is no such key.
pub fn key_from_pem(pem: &[u8]) -> Result<KeyHandle, SignatureError> {
    let (label, pkcs8) = der::pem::decode_vec(pem).map_err(|_| SignatureError::Key)?;
    let pkcs8 = Secret::new(pkcs8, Strength(0));
    if label != "PRIVATE KEY" {
        return Err(SignatureError::Key);
    }
    SignatureAlgorithm::ALL
        .into_iter()
        .find_map(|algorithm| KeyHandle::from_pkcs8(algorithm, &pkcs8).ok())
        .ok_or(SignatureError::Key)
}
