//! The targets. Each takes any bytes; it must not panic, and asserts what its parser promises.

pub mod announcement;
pub mod certificate;
pub mod csr;
pub mod envelope;
pub mod est_body;
pub mod factory;
pub mod home_assistant;
pub mod invitation_device;
pub mod invitation_joiner;
pub mod invite;
pub mod ixit;
pub mod journal;
pub mod known;
pub mod label;
pub mod ledger;
pub mod mqtt_broker;
pub mod ocsp;
pub mod pairing_controller;
pub mod pairing_device;
pub mod pkcs7;
pub mod policy;
pub mod policy_text;
pub mod product_socket;
pub mod registry;
pub mod root_documents;
pub mod roots;
pub mod sealed_file;
pub mod server_hello;
pub mod thing_description;

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; the names are those of the corpus folders and of the files under `fuzz_targets/`.
pub const ALL: &[Target] = &[
    ("announcement", announcement::target),
    ("certificate", certificate::target),
    ("csr", csr::target),
    ("envelope", envelope::target),
    ("est_body", est_body::target),
    ("factory", factory::target),
    ("home_assistant", home_assistant::target),
    ("invitation_device", invitation_device::target),
    ("invitation_joiner", invitation_joiner::target),
    ("invite", invite::target),
    ("ixit", ixit::target),
    ("journal", journal::target),
    ("label", label::target),
    ("ledger", ledger::target),
    ("mqtt_broker", mqtt_broker::target),
    ("ocsp", ocsp::target),
    ("pairing_controller", pairing_controller::target),
    ("pairing_device", pairing_device::target),
    ("pkcs7", pkcs7::target),
    ("policy", policy::target),
    ("policy_text", policy_text::target),
    ("product_socket", product_socket::target),
    ("registry", registry::target),
    ("root_documents", root_documents::target),
    ("roots", roots::target),
    ("sealed_file", sealed_file::target),
    ("server_hello", server_hello::target),
    ("thing_description", thing_description::target),
];

/// Targets of which one run costs a key derivation: they get fewer mutations.
pub const SLOW: &[&str] = &["invitation_joiner", "pairing_controller"];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    ALL.iter().copied().find(|(known, _)| *known == name)
}
