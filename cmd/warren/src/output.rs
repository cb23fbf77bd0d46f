//! How answers are shown: tables and words for people, JSON and YAML for programs.

pub mod checks;
pub mod clause;
pub mod json;
pub mod task;
pub mod trial;
pub mod words;

use comfy_table::{Table, presets};
use prost::Message;
use warren_core::time::Timestamp;

use crate::{cli::Format, console::Console, failure::Failure};

/// Prints an answer. `name` is the message's name in `warren.v1`; `table` is for people.
pub fn show<M: Message>(
    console: &mut Console<'_>,
    format: Format,
    name: &str,
    message: &M,
    table: impl FnOnce(&M, Timestamp) -> String,
) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table(message, console.now()),
        Format::Json => json::pretty(name, message)? + "\n",
        Format::Yaml => json::yaml(name, message)?,
    };
    console.print(text)
}

/// Prints one of many answers as it comes: a line of JSON, or a YAML document.
pub fn show_next<M: Message>(
    console: &mut Console<'_>,
    format: Format,
    name: &str,
    message: &M,
    line: impl FnOnce(&M) -> String,
) -> Result<(), Failure> {
    let text = match format {
        Format::Table => line(message),
        Format::Json => json::line(name, message)? + "\n",
        Format::Yaml => format!("---\n{}", json::yaml(name, message)?),
    };
    console.print(text)
}

/// Columns without borders, three blanks apart.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
