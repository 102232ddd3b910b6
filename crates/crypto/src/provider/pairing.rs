//! What pairing needs and no backend offers: SPAKE2+ (RFC 9383) and Argon2id (RFC 9106), the same beside each.

/// SPAKE2+ by its own types.
pub(crate) mod spake2plus {
    pub(crate) use ::spake2plus::*;
}

/// Argon2id fills `out` from `input`.
///
/// # Errors
/// [`Argon2Refused`]: the parameters are out of range, or there was no memory.
pub(crate) fn argon2id(
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: &[u8],
    input: &[u8],
    out: &mut [u8],
) -> Result<(), Argon2Refused> {
    let cost = argon2::Params::new(memory_kib, passes, lanes, Some(out.len()))
        .map_err(|_| Argon2Refused::Params)?;
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cost)
        .hash_password_into(input, salt, out)
        .map_err(|_| Argon2Refused::Memory)
}

/// Why Argon2id gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argon2Refused {
    Params,
    Memory,
}
