//! Sheets as PDF: vectors and the printer's own monospaced face, at true size.

use countersign_model::label::Label;
use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str};
use zeroize::Zeroizing;

use super::{Layout, Page, Shape, pages};
use crate::error::AuthorityError;

/// Most pages of one document: printers and viewers take it in one piece, and so does memory.
pub const MAX_PAGES: usize = 100;
/// Points of a millimetre.
const POINTS: f32 = 72.0 / 25.4;

const PLAIN: Name<'_> = Name(b"F1");
const BOLD: Name<'_> = Name(b"F2");

/// Documents of at most [`MAX_PAGES`] pages. They hold the setup codes.
///
/// # Errors
/// [`AuthorityError::Factory`] for a serial that is too long for the layout's labels.
pub fn sheets(labels: &[Label], layout: Layout) -> Result<Vec<Zeroizing<Vec<u8>>>, AuthorityError> {
    let per_file = MAX_PAGES * layout.per_page();
    labels.chunks(per_file).map(|labels| Ok(document(&pages(labels, layout)?))).collect()
}

fn document(pages: &[Page]) -> Zeroizing<Vec<u8>> {
    let mut last = 0;
    let mut next = || {
        last += 1;
        Ref::new(last)
    };
    let (catalog, tree, plain, bold) = (next(), next(), next(), next());
    let ids: Vec<(Ref, Ref)> = pages.iter().map(|_| (next(), next())).collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(ids.iter().map(|(page, _)| *page)).count(count);
    pdf.type1_font(plain).base_font(Name(b"Courier"));
    pdf.type1_font(bold).base_font(Name(b"Courier-Bold"));
    for (page, (id, content)) in pages.iter().zip(ids) {
        let (width, height) = page.size;
        // A page is written when its writer is dropped.
        {
            let mut written = pdf.page(id);
            written.media_box(Rect::new(0.0, 0.0, width * POINTS, height * POINTS));
            written.parent(tree).contents(content);
            written.resources().fonts().pair(PLAIN, plain).pair(BOLD, bold);
        }
        let drawn = draw(page);
        pdf.stream(content, &drawn);
    }
    Zeroizing::new(pdf.finish())
}

/// The marks of a page. PDF counts from the bottom left.
fn draw(page: &Page) -> Zeroizing<Vec<u8>> {
    let up = |y: f32| page.size.1 - y;
    let mut content = Content::new();
    content.transform([POINTS, 0.0, 0.0, POINTS, 0.0, 0.0]);
    content.set_line_width(0.1);
    for shape in &page.shapes {
        match shape {
            Shape::Qr { x, y, module, runs } => {
                content.save_state();
                content.transform([*module, 0.0, 0.0, -*module, *x, up(*y)]);
                for (column, row, run) in runs.iter() {
                    content.rect(f32::from(*column), f32::from(*row), f32::from(*run), 1.0);
                }
                content.fill_nonzero();
                content.restore_state();
            }
            Shape::Text { x, y, height, bold, text } => {
                content.begin_text();
                content.set_font(if *bold { BOLD } else { PLAIN }, *height);
                content.next_line(*x, up(*y));
                content.show(Str(text.as_bytes()));
                content.end_text();
            }
            Shape::Line { from, to } => {
                content.set_stroke_gray(0.5);
                content.move_to(from.0, up(from.1));
                content.line_to(to.0, up(to.1));
                content.stroke();
            }
        }
    }
    Zeroizing::new(content.finish().to_vec())
}
