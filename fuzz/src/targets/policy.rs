//! A crypto policy: the signed document, and the TOML that people write.

use countersign_crypto::policy::{self, CompiledPolicy, Policy};

/// The key that signed the corpus. Its private half was thrown away, so a changed document cannot verify.
const SIGNER: &[u8] = include_bytes!("../../fixtures/policy.spki");
const GENUINE: &[u8] = include_bytes!("../../fixtures/policy.cose");

//= specs/en-303-645.md#5.5-3
//= type=test
//# A change of algorithms is a security-relevant change and MUST be authenticated like one.
/// Only the genuine document verifies; whatever text compiles or says why not.
pub fn target(data: &[u8]) {
    if let Ok(read) = policy::verify(data, SIGNER) {
        let genuine = policy::verify(GENUINE, SIGNER).map(|genuine| genuine.version);
        assert_eq!(genuine.ok(), Some(read.version), "a document that nobody signed verifies");
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(policy) = Policy::from_toml(text)
        && let Err(reasons) = CompiledPolicy::compile(policy, "2026-11-25".parse().expect("a day"))
    {
        assert!(!reasons.is_empty(), "a refusal without a reason");
    }
}
