//! TC 5.5-6-1: are critical parameters encrypted in transit, by best practice? (conceptual)

use super::View;
use super::parameters::{Ways, conceptual};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    conceptual(view, "5.5-6-1", Ways::All)
}
