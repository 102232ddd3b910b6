//! TC 5.5-6-2: are critical parameters really encrypted in transit? (functional)

use super::View;
use super::parameters::{Ways, functional};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    functional(view, Ways::All)
}
