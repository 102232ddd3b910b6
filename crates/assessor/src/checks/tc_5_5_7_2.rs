//! TC 5.5-7-2: do critical parameters really stay confidential on remotely accessible interfaces? (functional)

use super::View;
use super::parameters::{Ways, functional};
use crate::verdict::Unit;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    functional(view, Ways::Remote)
}
