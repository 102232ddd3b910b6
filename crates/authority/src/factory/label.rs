//! The label as a picture to print and as text: QR code, printed code, serial.

use std::path::{Path, PathBuf};

use countersign_crypto::file;
use countersign_model::label::Label;
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::error::AuthorityError;

/// A label's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFiles {
    /// `SERIAL.svg`.
    pub svg: PathBuf,
    /// `SERIAL.txt`: the QR text, then the printed code.
    pub text: PathBuf,
}

impl LabelFiles {
    /// Writes both files into `folder`, mode 0600, for the printer. They hold the secret: remove them when they are printed.
    ///
    /// # Errors
    /// [`AuthorityError::Io`].
    pub fn write(label: &Label, folder: &Path) -> Result<Self, AuthorityError> {
        std::fs::create_dir_all(folder).map_err(AuthorityError::io(folder))?;
        let path = |ending: &str| folder.join(format!("{}.{ending}", label.thing()));
        let files = Self { svg: path("svg"), text: path("txt") };
        let svg = label_svg(label)?;
        for (path, content) in [(&files.svg, svg), (&files.text, label_text(label))] {
            file::write_atomic(path, content.as_bytes(), file::PRIVATE)
                .map_err(AuthorityError::io(path))?;
        }
        Ok(files)
    }
}

/// The label as text: line 1 the QR code's content, line 2 the printed code.
#[must_use]
pub fn label_text(label: &Label) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n{}\n", label.qr_text().as_str(), label.code().printed().as_str()))
}

/// Modules of quiet zone that readers ask for (ISO/IEC 18004).
const QUIET: u32 = 4;
/// Units of one module in the picture.
const MODULE: u32 = 8;
/// Units of the text's line height.
const LINE: u32 = 30;

/// The label as an SVG picture: the QR code over the serial and the printed code in three lines.
///
/// # Errors
/// [`AuthorityError::Factory`]; a label's text always fits, so this is a fault in this program.
pub fn label_svg(label: &Label) -> Result<Zeroizing<String>, AuthorityError> {
    let text = label.qr_text();
    // Level M: a scratch over a seventh of the label is repaired.
    let qr = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M).map_err(failed)?;
    let size = (u32::try_from(qr.width()).unwrap_or(u32::MAX) + 2 * QUIET) * MODULE;
    let picture = Zeroizing::new(
        qr.render::<svg::Color<'_>>().quiet_zone(true).module_dimensions(MODULE, MODULE).build(),
    );
    // The renderer writes a document; its inside goes into ours.
    let inner = picture
        .split_once("<svg")
        .map(|(_, rest)| rest)
        .ok_or_else(|| AuthorityError::Factory("the QR picture has no svg element".to_owned()))?;
    let printed = label.code().printed();
    let groups: Vec<&str> = printed.split('-').collect();
    let lines: Vec<Zeroizing<String>> =
        groups.chunks(2).map(|pair| Zeroizing::new(pair.join("-"))).collect();
    let height = size + LINE * (u32::try_from(lines.len()).unwrap_or(0) + 2);
    let mut out = Zeroizing::new(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{height}\" viewBox=\"0 0 {size} {height}\">\n\
         <rect width=\"{size}\" height=\"{height}\" fill=\"#fff\"/>\n<svg{inner}\n"
    ));
    let mut line = |number: u32, weight: &str, text: &str| {
        let (x, y) = (size / 2, size + LINE * number);
        out.push_str(&format!(
            "<text x=\"{x}\" y=\"{y}\" font-family=\"monospace\" font-size=\"22\" font-weight=\"{weight}\" text-anchor=\"middle\">{text}</text>\n"
        ));
    };
    line(1, "bold", label.thing().as_str());
    for (number, text) in (2..).zip(&lines) {
        line(number, "normal", text);
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn failed(error: QrError) -> AuthorityError {
    AuthorityError::Factory(format!("the QR code was not made: {error}"))
}
