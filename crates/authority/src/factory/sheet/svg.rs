//! Sheets as SVG, one file a page, in millimetres.

use std::fmt::Write as _;

use countersign_model::label::Label;
use zeroize::Zeroizing;

use super::{Layout, Page, Shape, pages};
use crate::error::AuthorityError;

/// One document a page. They hold the setup codes.
///
/// # Errors
/// [`AuthorityError::Factory`] for a serial that is too long for the layout's labels.
pub fn sheets(labels: &[Label], layout: Layout) -> Result<Vec<Zeroizing<String>>, AuthorityError> {
    Ok(pages(labels, layout)?.iter().map(write).collect())
}

fn write(page: &Page) -> Zeroizing<String> {
    let (width, height) = page.size;
    let mut out = Zeroizing::new(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" viewBox=\"0 0 {width} {height}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    ));
    for shape in &page.shapes {
        // Writing to a string cannot fail.
        let _ = match shape {
            Shape::Qr { x, y, module, runs } => {
                let _ = write!(
                    out,
                    "<path transform=\"translate({x:.3} {y:.3}) scale({module:.4})\" shape-rendering=\"crispEdges\" d=\""
                );
                for (column, row, run) in runs.iter() {
                    let _ = write!(out, "M{column} {row}h{run}v1h-{run}z");
                }
                out.write_str("\"/>\n")
            }
            // Names and codes have no character that XML knows: `model::id` and `model::label` see to it.
            Shape::Text { x, y, height, bold, text } => writeln!(
                out,
                "<text x=\"{x:.3}\" y=\"{y:.3}\" font-family=\"Courier, monospace\" font-size=\"{height:.3}\" font-weight=\"{}\">{}</text>",
                if *bold { "bold" } else { "normal" },
                text.as_str()
            ),
            Shape::Line { from, to } => writeln!(
                out,
                "<path d=\"M{:.3} {:.3}L{:.3} {:.3}\" stroke=\"#888\" stroke-width=\"0.1\"/>",
                from.0, from.1, to.0, to.1
            ),
        };
    }
    out.push_str("</svg>\n");
    out
}
