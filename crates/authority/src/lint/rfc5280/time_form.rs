//! Years to 2049 are UTCTime, later ones GeneralizedTime, and the end is not before the beginning.

use crate::lint::{Context, Rule, require};
use countersign_crypto::issue::TimeForm;
use countersign_model::time::Timestamp;

/// 2050-01-01T00:00:00Z.
const FROM_2050: Timestamp = Timestamp::from_secs(2_524_608_000);

pub(in crate::lint) const RULE: Rule =
    Rule { id: "rfc5280/time_form", source: "RFC 5280 section 4.1.2.5", check };

fn check(context: &Context) -> Result<(), String> {
    for (at, form) in [context.facts.not_before, context.facts.not_after] {
        let expected = if at < FROM_2050 { TimeForm::Utc } else { TimeForm::Generalized };
        require(form == expected, || format!("{} is encoded as {form:?}", at.to_rfc3339()))?;
    }
    let (from, to) = (context.facts.not_before.0, context.facts.not_after.0);
    require(from < to, || "it ends before it begins".to_owned())
}
