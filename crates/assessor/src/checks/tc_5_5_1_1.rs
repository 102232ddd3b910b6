//! TC 5.5-1-1: is the cryptography of every mechanism best practice? (conceptual)

use super::{View, cryptography};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let mechanisms: Vec<_> = view.declaration().sec_com_mech.iter().collect();
    cryptography::conceptual(view, "5.5-1-1", &mechanisms, false)
}
