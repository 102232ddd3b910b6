//! What the factory puts into a device, as one package that travels sealed: `SERIAL.factory`.
//!
//! ```text
//!  [1, serial, [leaf, issuing CA], [root …], [salt, memory KiB, passes, lanes, verifier], [maker, key, second?], key?]
//! ```
//!
//! Deterministic CBOR. The last element is the device's private key where the factory made it, and null where the device
//! did. The setup code is not in it: it is on the label.

use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

use crate::id::ThingId;

/// Longest package, in bytes: certificates, verifier and policy keys have some 3 KiB, with a post-quantum key 6 KiB.
pub const MAX_PACKAGE: usize = 64 * 1024;
/// Most certificates of a chain or of the roots.
pub const MAX_CERTIFICATES: usize = 8;
/// What a sealed package is sealed for.
pub const PURPOSE: &str = "factory package";
/// The ending of a sealed package's file.
pub const ENDING: &str = "factory";

const VERSION: u8 = 1;
/// Bytes of the salt.
const SALT: usize = 16;

/// The setup code's verifier and how it was derived.
pub struct SetupRecord {
    /// The device's salt.
    pub salt: [u8; SALT],
    /// Memory of the derivation, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// The verifier.
    pub verifier: Zeroizing<Vec<u8>>,
}

/// Whose policies the device takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyKeys {
    /// The maker's name.
    pub maker: String,
    /// SubjectPublicKeyInfo, DER.
    pub spki_der: Vec<u8>,
    /// The key of second signatures, where the maker has one.
    pub second_spki_der: Option<Vec<u8>>,
}

/// Everything of a device's factory identity.
pub struct Package {
    /// The serial.
    pub thing: ThingId,
    /// IDevID certificate and issuing CA, DER.
    pub chain: Vec<Vec<u8>>,
    /// The manufacturer's roots, DER.
    pub roots: Vec<Vec<u8>>,
    /// The setup code's verifier.
    pub setup: SetupRecord,
    /// Whose policies it takes.
    pub policy: PolicyKeys,
    /// The private key, PKCS#8, where the factory made it.
    pub key: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Package({}, {})",
            self.thing,
            if self.key.is_some() { "with key" } else { "no key" }
        )
    }
}

/// Bytes that are no package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no factory package of this program's form, or it was changed")]
pub struct InvalidPackage;

impl Package {
    /// The bytes to be sealed.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(4096));
        self.write(&mut Encoder::new(&mut *out)).expect("writing to a vector cannot fail");
        out
    }

    fn write<W: minicbor::encode::Write>(
        &self,
        out: &mut Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        out.array(7)?.u8(VERSION)?.str(self.thing.as_str())?;
        for list in [&self.chain, &self.roots] {
            out.array(list.len() as u64)?;
            for certificate in list {
                out.bytes(certificate)?;
            }
        }
        let setup = &self.setup;
        out.array(5)?.bytes(&setup.salt)?.u32(setup.memory_kib)?.u32(setup.passes)?;
        out.u32(setup.lanes)?.bytes(&setup.verifier)?;
        out.array(3)?.str(&self.policy.maker)?.bytes(&self.policy.spki_der)?;
        for optional in
            [self.policy.second_spki_der.as_deref(), self.key.as_ref().map(|key| &key[..])]
        {
            match optional {
                Some(bytes) => out.bytes(bytes)?,
                None => out.null()?,
            };
        }
        Ok(())
    }

    /// Reads a package; any input gets an answer.
    ///
    /// # Errors
    /// [`InvalidPackage`] for anything but the one form that [`Package::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidPackage> {
        let read = if bytes.len() <= MAX_PACKAGE { read(bytes) } else { None };
        // One package has one form.
        read.filter(|package| package.encode()[..] == *bytes).ok_or(InvalidPackage)
    }
}

fn read(bytes: &[u8]) -> Option<Package> {
    let input = &mut Decoder::new(bytes);
    (input.array().ok()?? == 7 && input.u8().ok()? == VERSION).then_some(())?;
    let thing = input.str().ok()?.parse().ok()?;
    let (chain, roots) = (certificates(input)?, certificates(input)?);
    (input.array().ok()?? == 5).then_some(())?;
    let setup = SetupRecord {
        salt: input.bytes().ok()?.try_into().ok()?,
        memory_kib: input.u32().ok()?,
        passes: input.u32().ok()?,
        lanes: input.u32().ok()?,
        verifier: Zeroizing::new(input.bytes().ok()?.to_vec()),
    };
    (input.array().ok()?? == 3).then_some(())?;
    let policy = PolicyKeys {
        maker: input.str().ok()?.to_owned(),
        spki_der: input.bytes().ok()?.to_vec(),
        second_spki_der: optional(input)?,
    };
    let key = optional(input)?.map(Zeroizing::new);
    (input.position() == bytes.len()).then_some(Package { thing, chain, roots, setup, policy, key })
}

fn certificates(input: &mut Decoder<'_>) -> Option<Vec<Vec<u8>>> {
    let count = usize::try_from(input.array().ok()??).ok()?;
    if count > MAX_CERTIFICATES {
        return None;
    }
    (0..count).map(|_| input.bytes().ok().map(<[u8]>::to_vec)).collect()
}

fn optional(input: &mut Decoder<'_>) -> Option<Option<Vec<u8>>> {
    if input.datatype().ok()? == minicbor::data::Type::Null {
        return input.null().ok().map(|()| None);
    }
    input.bytes().ok().map(|bytes| Some(bytes.to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn package(second: bool, key: bool) -> Package {
        Package {
            thing: "plug-000001".parse().unwrap(),
            chain: vec![vec![1; 300], vec![2; 300]],
            roots: vec![vec![3; 300]],
            setup: SetupRecord {
                salt: [4; SALT],
                memory_kib: 19 * 1024,
                passes: 2,
                lanes: 1,
                verifier: Zeroizing::new(vec![5; 97]),
            },
            policy: PolicyKeys {
                maker: "Example".to_owned(),
                spki_der: vec![6; 91],
                second_spki_der: second.then(|| vec![7; 1974]),
            },
            key: key.then(|| Zeroizing::new(vec![8; 138])),
        }
    }

    #[test]
    fn what_was_packed_is_unpacked_and_nothing_else() {
        for (second, key) in [(false, false), (true, true), (true, false), (false, true)] {
            let bytes = package(second, key).encode();
            let read = Package::decode(&bytes).unwrap();
            assert_eq!(read.encode(), bytes);
            assert_eq!((read.policy.second_spki_der.is_some(), read.key.is_some()), (second, key));
            for end in 0..bytes.len() {
                assert!(Package::decode(&bytes[..end]).is_err(), "cut at {end}");
            }
            assert!(Package::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        // A longer spelling of the version is another form of the same package.
        let mut long = package(false, false).encode().to_vec();
        long.splice(1..2, [0x18, VERSION]);
        assert!(Package::decode(&long).is_err());
        assert!(Package::decode(&vec![0; MAX_PACKAGE + 1]).is_err());
    }

    #[test]
    fn nothing_of_it_is_shown() {
        assert_eq!(format!("{:?}", package(true, true)), "Package(plug-000001, with key)");
    }
}
