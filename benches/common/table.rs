//! How figures are gathered and shown.

/// Minimum, median and maximum.
pub(crate) fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

/// As text, `digits` after the point.
pub(crate) fn show([min, median, max]: [f64; 3], digits: usize) -> String {
    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
}

/// Prints a table; the first row is its head, the first column is flush left.
pub(crate) fn print(title: &str, rows: &[Vec<String>]) {
    println!("\n{title}\n");
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}
