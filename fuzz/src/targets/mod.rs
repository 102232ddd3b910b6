//! The targets. Each takes any bytes; it must not panic, and asserts what its parser promises.

pub mod certificate;
pub mod csr;
pub mod ixit;
pub mod label;
pub mod pkcs7;
pub mod policy;
pub mod sealed_file;
pub mod server_hello;
pub mod thing_description;

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; the names are those of the corpus folders and of the files under `fuzz_targets/`.
pub const ALL: &[Target] = &[
    ("certificate", certificate::target),
    ("csr", csr::target),
    ("ixit", ixit::target),
    ("label", label::target),
    ("pkcs7", pkcs7::target),
    ("policy", policy::target),
    ("sealed_file", sealed_file::target),
    ("server_hello", server_hello::target),
    ("thing_description", thing_description::target),
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    ALL.iter().copied().find(|(known, _)| *known == name)
}
