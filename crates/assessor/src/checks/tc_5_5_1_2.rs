//! TC 5.5-1-2: does the device use the cryptography that is declared? (functional)

use super::{View, cryptography};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let mechanisms: Vec<_> = view.declaration().sec_com_mech.iter().collect();
    let asks = "Are the settings that the device uses those that are declared?";
    vec![Unit::new("a", asks, cryptography::functional(view, &mechanisms))]
}
