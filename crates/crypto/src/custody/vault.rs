//! A sealed private key that lies in one file, here or elsewhere.
//!
//! Form: CBOR `[1, algorithm, SubjectPublicKeyInfo, needed, [wrapping keys], [[group, holder, wrapped part]], sealed key]`.
//! Without custodians the lists are empty and only the folder's sealing key opens it.

use minicbor::{Decoder, Encoder};

use super::BITS;
use super::shares::{self, MAX_CUSTODIANS};
use super::wrap::{WrapError, WrapKey, WrapPublic};
use crate::digest::sha256;
use crate::random::Random;
use crate::seal::{self, CustodyKey, MAX_SEALED, SealKey};
use crate::secret::Rated;
use crate::signature::{KeyHandle, SignatureAlgorithm, SignatureError, generate_pkcs8};

/// Version of the form.
const VERSION: u8 = 1;
const PURPOSE: &str = "root key in a vault";
/// The most wrapped parts, see [`MAX_CUSTODIANS`].
const MAX_PARTS: u64 = 140;
/// The longest wrapped part, in bytes: an encapsulated point, 32 bytes and a tag.
const MAX_WRAPPED: usize = 256;

/// Who holds parts of a vault's key.
#[derive(Debug, Clone)]
pub struct Holder {
    /// To whom parts are wrapped.
    pub public: WrapPublic,
}

/// A part that only its holder opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedPart {
    /// The group of custodians that it belongs to: bit i stands for custodian i.
    pub group: u8,
    /// The holder's place among the custodians.
    pub holder: u8,
    /// HPKE.
    pub wrapped: Vec<u8>,
}

/// The opened parts of one holder: of each group that they are in.
#[derive(Debug)]
pub struct Parts {
    holder: u8,
    parts: Vec<(u8, Rated<BITS>)>,
}

/// A sealed private key. Public: algorithm, public key, how many of whom open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    algorithm: SignatureAlgorithm,
    spki_der: Vec<u8>,
    needed: u8,
    holders: Vec<WrapPublic>,
    parts: Vec<WrappedPart>,
    sealed: Vec<u8>,
}

impl Vault {
    /// Makes a key that nobody has seen, sealed under the folder's key and, with holders, for every `needed` of them.
    ///
    /// # Errors
    /// [`VaultError::Custody`] for a number of holders that cannot be; [`VaultError::Wrap`], [`VaultError::Signature`].
    pub fn make(
        algorithm: SignatureAlgorithm,
        seal: &SealKey,
        needed: usize,
        holders: &[Holder],
        random: &mut dyn Random,
    ) -> Result<Self, VaultError> {
        Self::make_with(algorithm, seal, needed, holders, random).map(|(vault, _)| vault)
    }

    /// The same, and the key while it is there: a new root signs itself at its birth, when nobody trusts it yet.
    ///
    /// # Errors
    /// As [`Vault::make`].
    pub fn make_with(
        algorithm: SignatureAlgorithm,
        seal: &SealKey,
        needed: usize,
        holders: &[Holder],
        random: &mut dyn Random,
    ) -> Result<(Self, KeyHandle), VaultError> {
        let fits = match holders.len() {
            0 => needed == 0,
            of => of <= MAX_CUSTODIANS && (1..=of).contains(&needed),
        };
        if !fits {
            return Err(VaultError::Custody);
        }
        let pkcs8 = generate_pkcs8(algorithm)?;
        let handle = KeyHandle::from_pkcs8(algorithm, &pkcs8)?;
        let spki_der = handle.spki_der().to_vec();
        let mut vault = Self {
            algorithm,
            spki_der,
            needed: u8::try_from(needed).map_err(|_| VaultError::Custody)?,
            holders: holders.iter().map(|one| one.public.clone()).collect(),
            parts: Vec::new(),
            sealed: Vec::new(),
        };
        let inner = if holders.is_empty() {
            pkcs8.expose(|pkcs8| seal::seal(seal, PURPOSE, pkcs8, random))
        } else {
            let (key, secret) = CustodyKey::generate(random);
            for part in shares::split(&secret, needed, holders.len(), random) {
                let purpose = vault.purpose(part.group, part.holder);
                let to = &vault.holders[usize::from(part.holder)];
                let wrapped = to.wrap(&purpose, &part.secret)?;
                vault.parts.push(WrappedPart { group: part.group, holder: part.holder, wrapped });
            }
            let inner = key.seal(PURPOSE, &pkcs8, random);
            inner.and_then(|inner| seal::seal(seal, PURPOSE, &inner, random))
        };
        vault.sealed = inner.map_err(|_| VaultError::Signature(SignatureError::Backend))?;
        Ok((vault, handle))
    }

    /// The public key, SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }
    /// The key's algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    /// How many custodians open it; 0: the folder's sealing key alone does.
    #[must_use]
    pub fn needed(&self) -> usize {
        usize::from(self.needed)
    }
    /// Every wrapped part.
    #[must_use]
    pub fn parts(&self) -> &[WrappedPart] {
        &self.parts
    }

    /// The same without the private key: what may stay where the key does not.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self { sealed: Vec::new(), ..self.clone() }
    }

    /// Whether it is sealed under this folder's key.
    #[must_use]
    pub fn is_of(&self, seal: &SealKey) -> bool {
        seal::open(seal, PURPOSE, &self.sealed).is_ok()
    }

    /// Whether it is for these holders, of whom so many are needed.
    #[must_use]
    pub fn is_held_by(&self, needed: usize, holders: &[Holder]) -> bool {
        let wanted = holders.iter().map(|one| &one.public);
        self.needed() == needed && self.holders.iter().eq(wanted)
    }

    /// Opens the parts of one holder with their wrapping key.
    ///
    /// # Errors
    /// [`VaultError::Wrap`] when the key is not that holder's.
    pub fn open_parts(
        spki_der: &[u8],
        parts: &[WrappedPart],
        holder: u8,
        key: &WrapKey,
    ) -> Result<Parts, VaultError> {
        let of = parts.iter().filter(|part| part.holder == holder);
        let opened = of.map(|part| {
            let purpose = purpose(spki_der, part.group, holder);
            Ok((part.group, key.unwrap(&purpose, &part.wrapped)?))
        });
        Ok(Parts { holder, parts: opened.collect::<Result<_, WrapError>>()? })
    }

    /// Opens the key with the parts of a whole group; without holders, with none.
    ///
    /// # Errors
    /// [`VaultError::TooFew`] when no group is whole, [`VaultError::Damaged`] when nothing comes of it.
    //= specs/house.md#house-custody
    //# A root that custodians hold in a file MUST NOT open with the parts of fewer than the plan says.
    pub fn open(&self, seal: &SealKey, parts: &[Parts]) -> Result<KeyHandle, VaultError> {
        let outer = seal::open(seal, PURPOSE, &self.sealed).map_err(|_| VaultError::Damaged)?;
        let pkcs8 = if self.needed == 0 {
            outer
        } else {
            let key = self.group_key(parts).ok_or(VaultError::TooFew)?;
            outer
                .expose(|inner| CustodyKey::of(key).open(PURPOSE, inner))
                .map_err(|_| VaultError::Damaged)?
        };
        let key = KeyHandle::from_pkcs8(self.algorithm, &pkcs8)?;
        if key.spki_der() == self.spki_der { Ok(key) } else { Err(VaultError::Damaged) }
    }

    fn group_key(&self, parts: &[Parts]) -> Option<Rated<BITS>> {
        let of = |group: u8, holder: u8| {
            let held = parts.iter().find(|one| one.holder == holder)?;
            held.parts.iter().find(|(of, _)| *of == group).map(|(_, part)| part)
        };
        shares::groups(self.needed(), self.holders.len()).find_map(|group| {
            let held: Option<Vec<_>> =
                shares::members(group).map(|holder| of(group, holder)).collect();
            shares::join(held?.into_iter())
        })
    }

    fn purpose(&self, group: u8, holder: u8) -> String {
        purpose(&self.spki_der, group, holder)
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out).expect("encoding into a vector cannot fail");
        out
    }

    fn encode(
        &self,
        out: &mut Vec<u8>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let mut e = Encoder::new(out);
        e.array(7)?.u8(VERSION)?.str(self.algorithm.name())?.bytes(&self.spki_der)?;
        e.u8(self.needed)?.array(self.holders.len() as u64)?;
        for holder in &self.holders {
            e.bytes(holder.as_bytes())?;
        }
        e.array(self.parts.len() as u64)?;
        for part in &self.parts {
            e.array(3)?.u8(part.group)?.u8(part.holder)?.bytes(&part.wrapped)?;
        }
        e.bytes(&self.sealed)?;
        Ok(())
    }

    /// Reads a vault's file, of whoever made it; whether it opens is another matter.
    ///
    /// # Errors
    /// [`VaultError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        let vault = (bytes.len() <= MAX_SEALED).then(|| read(bytes)).flatten();
        vault.filter(|vault| vault.to_bytes() == bytes).ok_or(VaultError::Form)
    }
}

fn purpose(spki_der: &[u8], group: u8, holder: u8) -> String {
    format!("root share {} of group {group} to {holder}", hex::encode(sha256(spki_der)))
}

fn read(bytes: &[u8]) -> Option<Vault> {
    let mut d = Decoder::new(bytes);
    if d.array().ok()? != Some(7) || d.u8().ok()? != VERSION {
        return None;
    }
    let algorithm = SignatureAlgorithm::from_name(d.str().ok()?)?;
    let spki_der = d.bytes().ok()?.to_vec();
    if SignatureAlgorithm::of_spki(&spki_der) != Some(algorithm) {
        return None;
    }
    let needed = d.u8().ok()?;
    let of = d.array().ok()?.filter(|of| *of <= MAX_CUSTODIANS as u64)?;
    let mut holders = Vec::new();
    for _ in 0..of {
        holders.push(WrapPublic::from_bytes(d.bytes().ok()?)?);
    }
    if u64::from(needed) > of || (needed == 0) != (of == 0) {
        return None;
    }
    let mut parts = Vec::new();
    for _ in 0..d.array().ok()?.filter(|count| *count <= MAX_PARTS)? {
        if d.array().ok()? != Some(3) {
            return None;
        }
        let (group, holder) = (d.u8().ok()?, d.u8().ok()?);
        let wrapped = d.bytes().ok()?;
        if u64::from(holder) >= of || wrapped.len() > MAX_WRAPPED {
            return None;
        }
        parts.push(WrappedPart { group, holder, wrapped: wrapped.to_vec() });
    }
    let sealed = d.bytes().ok()?.to_vec();
    Some(Vault { algorithm, spki_der, needed, holders, parts, sealed })
}

impl Parts {
    /// The parts as one message for `purpose`, wrapped to whoever is to use them.
    ///
    /// # Errors
    /// [`WrapError`].
    pub fn wrap_to(&self, to: &WrapPublic, purpose: &str) -> Result<Vec<u8>, WrapError> {
        let mut text = Vec::new();
        for (group, part) in &self.parts {
            text.push(*group);
            part.expose(|part| text.extend_from_slice(part));
        }
        to.wrap(purpose, &Rated::<BITS>::new(text))
    }

    /// Reads what [`Parts::wrap_to`] made.
    ///
    /// # Errors
    /// [`WrapError::Damaged`].
    pub fn unwrap_from(
        wrapped: &[u8],
        holder: u8,
        key: &WrapKey,
        purpose: &str,
    ) -> Result<Self, WrapError> {
        let text = key.unwrap(purpose, wrapped)?;
        let one = crate::provider::SEAL_KEY_LEN + 1;
        text.expose(|text| {
            let whole = !text.is_empty() && text.len().is_multiple_of(one);
            let part = |part: &[u8]| (part[0], Rated::new(part[1..].to_vec()));
            let parts = || text.chunks(one).map(part).collect();
            whole.then(|| Self { holder, parts: parts() }).ok_or(WrapError::Damaged)
        })
    }
}

/// Why a vault was not made, read or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Numbers that cannot be.
    #[error("1 to {MAX_CUSTODIANS} custodians hold a key, and 1 to all of them are needed")]
    Custody,
    /// Not a vault.
    #[error("the file holds no sealed root key in the form of this program")]
    Form,
    /// Not the parts of a whole group.
    #[error("the parts of too few custodians are there to open the key")]
    TooFew,
    /// It does not open.
    #[error(
        "the sealed root key does not open: the file was changed, or belongs to another folder"
    )]
    Damaged,
    /// A part does not open.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// The key.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}
