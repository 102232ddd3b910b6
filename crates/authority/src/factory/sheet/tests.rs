//! Every label of every layout is read back by a decoder that we did not write, from the shapes that PDF and SVG share.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]

use countersign_model::label::{RootFingerprint, SetupCode};

use super::*;

/// Pixels of a millimetre: what a printer of 300 dots an inch has.
const DPMM: f32 = 11.8;

fn label(serial: &str, seed: u8) -> Label {
    let code = SetupCode::from_entropy([seed; SetupCode::ENTROPY_BYTES]);
    Label::new(serial.parse().unwrap(), code, RootFingerprint([seed ^ 0x5a; 20]))
}

/// What the codes of the page say, as a printer would put its dots; text is not drawn. Each label is looked at by itself, as
/// a camera does.
fn read(page: &Page, grid: &Grid) -> Vec<String> {
    let (width, height) = ((page.size.0 * DPMM) as usize, (page.size.1 * DPMM) as usize);
    let mut dots = vec![255_u8; width * height];
    for shape in &page.shapes {
        let Shape::Qr { x, y, module, runs } = shape else { continue };
        for (column, row, run) in runs.iter() {
            let left = (x + module * f32::from(*column)) * DPMM;
            let right = left + module * f32::from(*run) * DPMM;
            let top = (y + module * f32::from(*row)) * DPMM;
            let bottom = top + module * DPMM;
            for line in top.round() as usize..bottom.round() as usize {
                dots[line * width + left.round() as usize..line * width + right.round() as usize]
                    .fill(0);
            }
        }
    }
    let mut found = Vec::new();
    for cell in 0..grid.columns * grid.rows {
        let (column, row) = ((cell % grid.columns) as f32, (cell / grid.columns) as f32);
        let left = ((grid.first.0 + column * grid.pitch.0) * DPMM) as usize;
        let top = ((grid.first.1 + row * grid.pitch.1) * DPMM) as usize;
        let size = ((grid.label.0 * DPMM) as usize, (grid.label.1 * DPMM) as usize);
        let dot =
            |x: usize, y: usize| dots.get((top + y) * width + left + x).copied().unwrap_or(255);
        let prepare = rqrr::PreparedImage::prepare_from_greyscale;
        let mut image = prepare(size.0, size.1, dot);
        found.extend(image.detect_grids().iter().map(|grid| grid.decode().unwrap().1));
    }
    found
}

#[test]
fn every_label_of_every_layout_is_read_back() {
    for layout in Layout::ALL {
        let count = layout.per_page() + 2;
        let labels: Vec<Label> =
            (0..count).map(|at| label(&format!("plug-{at:06}"), at as u8)).collect();
        let pages = pages(&labels, layout).unwrap();
        assert_eq!(pages.len(), count.div_ceil(layout.per_page()), "{}", layout.as_str());
        let mut found: Vec<String> =
            pages.iter().flat_map(|page| read(page, &layout.grid())).collect();
        found.sort();
        let mut wanted: Vec<String> = labels.iter().map(|one| one.qr_text().to_string()).collect();
        wanted.sort();
        assert_eq!(found, wanted, "{}", layout.as_str());
    }
}

/// Nothing lies outside its label, and nothing in a quiet zone.
#[test]
fn marks_stay_in_their_place() {
    for layout in Layout::ALL {
        for serial in ["p", "plug-000001", "a-serial-of-more-than-thirty-letters"] {
            let grid = layout.grid();
            let labels: Vec<Label> = (0..layout.per_page()).map(|_| label(serial, 3)).collect();
            let pages = pages(&labels, layout).unwrap();
            let mut cell = 0;
            let mut inside = (0.0, 0.0, 0.0, 0.0);
            for shape in &pages[0].shapes {
                match shape {
                    Shape::Qr { x, y, module, runs } => {
                        let (column, row) =
                            ((cell % grid.columns) as f32, (cell / grid.columns) as f32);
                        let left = grid.first.0 + column * grid.pitch.0;
                        let top = grid.first.1 + row * grid.pitch.1;
                        let side = runs.iter().map(|(at, _, run)| at + run).max().unwrap();
                        let quiet = module * QUIET as f32;
                        let right = x + module * f32::from(side) + quiet;
                        assert!(x - quiet >= left + MARK && y - quiet >= top + MARK);
                        assert!(y + module * f32::from(side) + quiet <= top + grid.label.1 - MARK);
                        inside = (right, top, left + grid.label.0, top + grid.label.1);
                        cell += 1;
                    }
                    Shape::Text { x, y, height, text, .. } => {
                        let end = x + ADVANCE * height * text.len() as f32;
                        assert!(*x >= inside.0 - 0.01 && end <= inside.2 + 0.01, "{text:?}");
                        assert!(y - height >= inside.1 && *y <= inside.3, "{text:?}");
                        assert!(*height >= LETTERS.0);
                    }
                    Shape::Line { .. } => {}
                }
            }
            assert_eq!(cell, layout.per_page());
        }
    }
}

#[test]
fn the_longest_serial_fits_every_layout() {
    for layout in Layout::ALL {
        let labels = [label(&"x".repeat(64), 1)];
        let pages = pages(&labels, layout).unwrap();
        assert_eq!(read(&pages[0], &layout.grid()), [labels[0].qr_text().as_str()]);
    }
}

#[test]
fn documents_have_their_pages_and_true_size() {
    let labels: Vec<Label> = (0..30).map(|at| label(&format!("plug-{at:06}"), at)).collect();
    let pdf = &pdf::sheets(&labels, Layout::A4x24).unwrap()[0];
    let text = String::from_utf8_lossy(pdf);
    assert!(text.starts_with("%PDF-") && text.contains("/Count 2"));
    assert!(text.contains("595.27"), "A4 is 595.28 by 841.89 points");
    let svg = svg::sheets(&labels, Layout::A4x24).unwrap();
    assert_eq!(svg.len(), 2);
    assert!(svg[0].contains("width=\"210mm\"") && svg[1].contains(">plug-000029<"));
}
