//! Labels on paper: where each mark lies, in millimetres from the top left corner. No I/O; [`pdf`] and [`svg`] write it.
//!
//! ```text
//!  ┌─ ─┬─ ─┐   each label:  ▛▜ ▛   plug-000001     quiet zone of four modules around the QR code,
//!  │   │   │                ▙▞ ▄   K7RQ2-M0X9C     level M (a scratch over a seventh is repaired),
//!  ├─ ─┼─ ─┤                ▟▀▝▄   …               cut marks at the corners, outside the quiet zone
//! ```

pub mod pdf;
pub mod svg;

use countersign_model::label::Label;
use qrcode::types::{Color, QrError};
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::AuthorityError;

/// Modules of quiet zone around a QR code (ISO/IEC 18004).
const QUIET: usize = 4;
/// Blank border inside a label, mm: what a cutter may be off.
const BORDER: f32 = 1.2;
/// Length of a cut mark, mm: it ends before the quiet zone.
const MARK: f32 = 1.0;
/// The smallest module that a telephone's camera reads from a hand's breadth, mm.
const LEAST_MODULE: f32 = 0.33;
/// The largest, mm: more helps nobody.
const MOST_MODULE: f32 = 0.8;
/// Least and most height of the letters, mm: 4 and 11 points.
const LETTERS: (f32, f32) = (1.41, 3.88);
/// Letters that are read without effort, mm: 8 points.
const GOOD: f32 = 2.82;
/// Width of a letter of the monospaced face, in parts of its height.
const ADVANCE: f32 = 0.6;
/// Distance of lines, in parts of the letters' height.
const LEADING: f32 = 1.25;
/// The most of a label's width that the QR code takes.
const QR_PART: f32 = 0.6;

/// How labels lie on the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Layout {
    /// A4, three by eight labels of 70 by 37 mm.
    #[default]
    #[serde(rename = "a4-24")]
    A4x24,
    /// A4, five by thirteen labels of 38.1 by 21.2 mm.
    #[serde(rename = "a4-65")]
    A4x65,
    /// A roll: a page is one label of 50 by 30 mm.
    #[serde(rename = "roll")]
    Roll,
}

/// A layout in millimetres.
struct Grid {
    page: (f32, f32),
    label: (f32, f32),
    first: (f32, f32),
    pitch: (f32, f32),
    columns: usize,
    rows: usize,
    marks: bool,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 3] = [Self::A4x24, Self::A4x65, Self::Roll];

    /// The word in batch files and commands.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A4x24 => "a4-24",
            Self::A4x65 => "a4-65",
            Self::Roll => "roll",
        }
    }

    /// Labels of one page.
    #[must_use]
    pub const fn per_page(self) -> usize {
        let grid = self.grid();
        grid.columns * grid.rows
    }

    const fn grid(self) -> Grid {
        match self {
            Self::A4x24 => Grid {
                page: (210.0, 297.0),
                label: (70.0, 37.0),
                first: (0.0, 0.5),
                pitch: (70.0, 37.0),
                columns: 3,
                rows: 8,
                marks: true,
            },
            Self::A4x65 => Grid {
                page: (210.0, 297.0),
                label: (38.1, 21.2),
                first: (4.75, 10.7),
                pitch: (40.6, 21.2),
                columns: 5,
                rows: 13,
                marks: true,
            },
            Self::Roll => Grid {
                page: (50.0, 30.0),
                label: (50.0, 30.0),
                first: (0.0, 0.0),
                pitch: (50.0, 30.0),
                columns: 1,
                rows: 1,
                marks: false,
            },
        }
    }
}

impl std::str::FromStr for Layout {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|layout| layout.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no layout: use a4-24, a4-65 or roll"))
    }
}

/// One mark on the paper; millimetres, from the top left corner.
pub(crate) enum Shape {
    /// A QR code: its top left module, the size of a module, and black runs as (column, row, modules).
    Qr { x: f32, y: f32, module: f32, runs: Zeroizing<Vec<(u16, u16, u16)>> },
    /// A line of text: the baseline's left end and the letters' height.
    Text { x: f32, y: f32, height: f32, bold: bool, text: Zeroizing<String> },
    /// A cut mark.
    Line { from: (f32, f32), to: (f32, f32) },
}

/// A page and what is on it.
pub(crate) struct Page {
    pub(crate) size: (f32, f32),
    pub(crate) shapes: Vec<Shape>,
}

/// Lays labels out, page after page.
///
/// # Errors
/// [`AuthorityError::Factory`] for a serial that is too long for the layout's labels.
pub(crate) fn pages(labels: &[Label], layout: Layout) -> Result<Vec<Page>, AuthorityError> {
    let grid = layout.grid();
    labels.chunks(layout.per_page()).map(|labels| page(labels, &grid, layout)).collect()
}

fn page(labels: &[Label], grid: &Grid, layout: Layout) -> Result<Page, AuthorityError> {
    let mut shapes = Vec::new();
    for (at, label) in labels.iter().enumerate() {
        let (column, row) = ((at % grid.columns) as f32, (at / grid.columns) as f32);
        let x = grid.first.0 + column * grid.pitch.0;
        let y = grid.first.1 + row * grid.pitch.1;
        if grid.marks {
            marks((x, y), grid.label, &mut shapes);
        }
        draw(label, (x, y), grid.label, layout, &mut shapes)?;
    }
    Ok(Page { size: grid.page, shapes })
}

/// Two short lines at each corner.
fn marks((x, y): (f32, f32), (width, height): (f32, f32), shapes: &mut Vec<Shape>) {
    for (corner_x, inward) in [(x, MARK), (x + width, -MARK)] {
        for (corner_y, downward) in [(y, MARK), (y + height, -MARK)] {
            let from = (corner_x, corner_y);
            shapes.push(Shape::Line { from, to: (corner_x + inward, corner_y) });
            shapes.push(Shape::Line { from, to: (corner_x, corner_y + downward) });
        }
    }
}

fn draw(
    label: &Label,
    (x, y): (f32, f32),
    (width, height): (f32, f32),
    layout: Layout,
    shapes: &mut Vec<Shape>,
) -> Result<(), AuthorityError> {
    let too_long = || {
        AuthorityError::Factory(format!(
            "{}: the serial is too long for a label of layout {}: choose one with larger labels",
            label.thing(),
            layout.as_str()
        ))
    };
    let text = label.qr_text();
    let qr = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M).map_err(failed)?;
    let whole = (qr.width() + 2 * QUIET) as f32;
    let space = (height - 2.0 * BORDER).min(width * QR_PART - BORDER);
    let module = (space / whole).min(MOST_MODULE);
    if module < LEAST_MODULE {
        return Err(too_long());
    }
    let side = module * whole;
    let quiet = module * QUIET as f32;
    shapes.push(Shape::Qr {
        x: x + BORDER + quiet,
        y: y + (height - side) / 2.0 + quiet,
        module,
        runs: runs(&qr),
    });
    // The quiet zone ends where the text begins.
    let left = x + BORDER + side;
    let room = (x + width - BORDER - left, height - 2.0 * BORDER);
    let (lines, size) = lines(label, room).ok_or_else(too_long)?;
    let block = size * LEADING * lines.len() as f32;
    let mut baseline = y + (height - block) / 2.0 + size;
    for (text, bold) in lines {
        shapes.push(Shape::Text { x: left, y: baseline, height: size, bold, text });
        baseline += size * LEADING;
    }
    Ok(())
}

/// A line of text, and whether it is bold.
type TextLine = (Zeroizing<String>, bool);

/// The serial and the printed code: two groups a line where the letters are large enough, else the split that gives the
/// largest; `None` where none is large enough.
fn lines(label: &Label, (width, height): (f32, f32)) -> Option<(Vec<TextLine>, f32)> {
    let printed = label.code().printed();
    let groups: Vec<&str> = printed.split('-').collect();
    let serial = label.thing().as_str();
    let mut best: Option<(Vec<TextLine>, f32)> = None;
    for per_line in [2, 1, 3] {
        for serial_lines in 1..=4 {
            let part = serial.len().div_ceil(serial_lines);
            let serial = serial
                .as_bytes()
                .chunks(part)
                .map(|part| (Zeroizing::new(String::from_utf8_lossy(part).into_owned()), true));
            let code = groups.chunks(per_line).map(|part| (Zeroizing::new(part.join("-")), false));
            let all: Vec<TextLine> = serial.chain(code).collect();
            let longest = all.iter().map(|(line, _)| line.len()).max().unwrap_or(1);
            let size = (width / (ADVANCE * longest as f32))
                .min(height / (LEADING * all.len() as f32))
                .min(LETTERS.1);
            if size >= LETTERS.0 && best.as_ref().is_none_or(|(_, best)| size > *best) {
                best = Some((all, size));
                if size >= GOOD {
                    return best;
                }
            }
        }
    }
    best
}

/// Black modules, row by row, neighbours together.
fn runs(qr: &QrCode) -> Zeroizing<Vec<(u16, u16, u16)>> {
    let width = qr.width();
    let colours =
        Zeroizing::new(qr.to_colors().iter().map(|c| *c == Color::Dark).collect::<Vec<_>>());
    let small = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
    let mut runs = Zeroizing::new(Vec::new());
    for (row, modules) in colours.chunks(width).enumerate() {
        let mut at = 0;
        while at < width {
            let run = modules[at..].iter().take_while(|dark| **dark).count();
            if run > 0 {
                runs.push((small(at), small(row), small(run)));
            }
            at += run.max(1);
        }
    }
    runs
}

fn failed(error: QrError) -> AuthorityError {
    AuthorityError::Factory(format!("the QR code was not made: {error}"))
}

#[cfg(test)]
mod tests;
