//! What custodians read of a request before they approve it.

use super::{ActKind, Raw, RootRequest};

/// For people: everything that matters, nothing that only machines read.
impl std::fmt::Display for RootRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let raw = &self.raw;
        writeln!(f, "Request {} for the use of the root: {}", raw.id, raw.purpose)?;
        writeln!(f, "  root key       {}", raw.root_key_sha256)?;
        let names = raw.custodians.join(", ");
        writeln!(f, "  approvals      {} of {}", raw.custodians_needed, names)?;
        writeln!(f, "  made           {}, until {}", raw.made_at, raw.expires_at)?;
        for act in &raw.sign {
            let what = match act.what {
                ActKind::RootCertificate => "the root's own certificate",
                ActKind::IssuingCa => "an issuing CA's certificate",
                ActKind::NextRoot => {
                    "that this is the next root: a statement and a cross-certificate"
                }
                ActKind::Withdrawal => {
                    "that no root before this one is an anchor any more: devices let go of them for ever"
                }
            };
            writeln!(f, "  signs          {what}")?;
            writeln!(
                f,
                "    subject      {}, {}, {}",
                act.common_name, act.organisation, act.country
            )?;
            writeln!(f, "    valid        {} to {}", act.not_before, act.not_after)?;
            writeln!(f, "    serial       {}", act.serial)?;
            writeln!(
                f,
                "    key          {} {}, {}",
                act.label, act.key_algorithm, act.key_sha256
            )?;
            if let Some(position) = act.position {
                writeln!(f, "    position     {position}")?;
            }
            if let Some(certificate) = &act.certificate_sha256 {
                writeln!(f, "    certificate  {certificate}")?;
            }
        }
        Ok(())
    }
}

impl Raw {
    /// Every text that people are told, by the name of its field.
    pub(super) fn told(&self) -> Vec<(&'static str, &str)> {
        let mut told: Vec<(&'static str, &str)> = vec![
            ("purpose", &self.purpose),
            ("id", &self.id),
            ("root_key_sha256", &self.root_key_sha256),
            ("custody_sha256", &self.custody_sha256),
            ("made_at", &self.made_at),
            ("expires_at", &self.expires_at),
        ];
        told.extend(self.custodians.iter().map(|name| ("custodians", name.as_str())));
        for act in &self.sign {
            let certificate = act.certificate_sha256.as_deref().unwrap_or_default();
            told.extend([
                ("label", act.label.as_str()),
                ("common_name", &act.common_name),
                ("organisation", &act.organisation),
                ("country", &act.country),
                ("serial", &act.serial),
                ("not_before", &act.not_before),
                ("not_after", &act.not_after),
                ("key_algorithm", &act.key_algorithm),
                ("key_sha256", &act.key_sha256),
                ("certificate_sha256", certificate),
            ]);
        }
        told
    }
}

/// Control characters, and those that turn the direction or break the line of what stands after them (Unicode, UAX #9).
pub(super) fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
