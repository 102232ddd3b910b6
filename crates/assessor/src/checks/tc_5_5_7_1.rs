//! TC 5.5-7-1: do critical parameters stay confidential on remotely accessible interfaces? (conceptual)

use super::View;
use super::parameters::{Ways, conceptual};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    conceptual(view, "5.5-7-1", Ways::Remote)
}
