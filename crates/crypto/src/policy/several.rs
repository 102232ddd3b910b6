//! Several sets of rules at one listener: what any of them verifies.

use rustls::crypto::WebPkiSupportedAlgorithms;
use std::sync::Arc;

use super::TlsRules;
use super::compile::verifiers;
use crate::provider;

impl TlsRules {
    /// Signature algorithms that any of `rules` accepts, in the order of the first that names them.
    pub(crate) fn verifying(rules: &[Self]) -> WebPkiSupportedAlgorithms {
        let mut schemes = Vec::new();
        for name in rules.iter().flat_map(Self::signatures) {
            let scheme = provider::SCHEMES.iter().find(|scheme| scheme.name == *name);
            let new = scheme
                .filter(|scheme| schemes.iter().all(|s: &&provider::Scheme| s.name != scheme.name));
            schemes.extend(new);
        }
        verifiers(&schemes)
    }

    /// The same rules, verifying by `algorithms`.
    pub(crate) fn with_verifying(mut self, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let mut provider = (*self.provider).clone();
        provider.signature_verification_algorithms = algorithms;
        self.provider = Arc::new(provider);
        self
    }
}
