//! The issuer as the encoder needs it: its distinguished name and key identifier, taken from its certificate
//! byte for byte, so that chains are built by exact match (RFC 5280 section 6.1.3).

use der::{Decode as _, Encode as _, Tag, Tagged as _};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyIdMethod};
use x509_cert::ext::pkix::{BasicConstraints, SubjectKeyIdentifier};

use super::IssueError;
use crate::certificate::Certificate;

/// Parameters that stand for `issuer`. Only the name and the key identifier are read by the encoder.
pub(crate) fn issuer_params(issuer: &Certificate) -> Result<CertificateParams, IssueError> {
    let parsed = x509_cert::Certificate::from_der(issuer.der())
        .map_err(|_| IssueError::Issuer("it does not parse"))?;
    let tbs = parsed.tbs_certificate();
    let constraints = tbs
        .get_extension::<BasicConstraints>()
        .map_err(|_| IssueError::Issuer("its basicConstraints do not parse"))?;
    if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(IssueError::Issuer("it is not the certificate of a CA"));
    }
    let (_, identifier) = tbs
        .get_extension::<SubjectKeyIdentifier>()
        .ok()
        .flatten()
        .ok_or(IssueError::Issuer("it has no subject key identifier"))?;
    let mut params = CertificateParams::default();
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.0.as_bytes().to_vec());
    params.distinguished_name = distinguished_name(tbs.subject())?;
    Ok(params)
}

fn distinguished_name(name: &x509_cert::name::Name) -> Result<DistinguishedName, IssueError> {
    let unusable = || IssueError::Issuer("its name has a form that this authority never makes");
    let mut out = DistinguishedName::new();
    for rdn in name.iter_rdn() {
        let mut attributes = rdn.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return Err(unusable());
        };
        let arcs: Vec<u64> = attribute.oid.arcs().map(u64::from).collect();
        let kind = DnType::from_oid(&arcs);
        if out.get(&kind).is_some() {
            return Err(unusable());
        }
        let text = std::str::from_utf8(attribute.value.value()).map_err(|_| unusable())?;
        let value = match attribute.value.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => {
                DnValue::PrintableString(text.try_into().map_err(|_| unusable())?)
            }
            _ => return Err(unusable()),
        };
        out.push(kind, value);
    }
    Ok(out)
}

/// The DER of a name, for comparisons.
pub(crate) fn name_der(name: &x509_cert::name::Name) -> Vec<u8> {
    name.to_der().unwrap_or_default()
}
