//! Sizes as Kubernetes writes them (`256Mi`), to bytes. The CEL rule of the size fields admits what this parses and
//! nothing else; a test runs both over the same strings.

/// The longest size text that a field takes.
pub(crate) const MAX_QUANTITY: usize = 32;
/// How many digits may follow the point.
const MAX_FRACTION: usize = 6;
/// Suffix, bytes it stands for, and how many digits may stand before the point: so every size fits a signed 64-bit
/// integer, which is what CEL, JSON clients and the status have.
const SUFFIXES: [(&str, u64, usize); 10] = [
    ("k", 1_000, 15),
    ("Ki", 1 << 10, 15),
    ("M", 1_000_000, 12),
    ("Mi", 1 << 20, 12),
    ("G", 1_000_000_000, 9),
    ("Gi", 1 << 30, 9),
    ("T", 1_000_000_000_000, 6),
    ("Ti", 1 << 40, 6),
    ("P", 1_000_000_000_000_000, 3),
    ("Pi", 1 << 50, 3),
];

/// Why a text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a known suffix, or a number with too many digits.
    #[error(
        "write a size such as 256Mi, 1.5Gi, 1G or 1048576: digits, then nothing or one of k, M, G, T, P (powers of 1000), Ki, Mi, Gi, Ti, Pi (powers of 1024)"
    )]
    Form,
    /// Nothing at all.
    #[error("write a size of at least one byte, or leave the field out")]
    Zero,
}

/// The bytes that a size stands for: digits, a fraction where there is a suffix, and a suffix `k`, `M`, `G`, `T`, `P`
/// (powers of 1,000) or `Ki`, `Mi`, `Gi`, `Ti`, `Pi` (powers of 1,024). A part of a byte counts as a byte, as in
/// Kubernetes. A subset of Kubernetes' quantities: no sign, no exponent, none of the suffixes below one.
///
/// ```
/// use tofustate::crd::parse_quantity;
/// assert_eq!(parse_quantity("1.5Ki"), Ok(1536));
/// ```
///
/// # Errors
/// What is wrong with the text, and what to write.
pub fn parse_quantity(text: &str) -> Result<u64, QuantityError> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let (whole, fraction) = match number.split_once('.') {
        None => (number, None),
        Some((whole, fraction)) => (whole, Some(fraction)),
    };
    let (unit, max_digits) = if suffix.is_empty() {
        (1, 18)
    } else {
        let known = SUFFIXES.iter().find(|(name, ..)| *name == suffix).ok_or(QuantityError::Form)?;
        (known.1, known.2)
    };
    let fraction = match fraction {
        None => "",
        Some(digits) if !suffix.is_empty() && digits_ok(digits, MAX_FRACTION) => digits,
        Some(_) => return Err(QuantityError::Form),
    };
    if !digits_ok(whole, max_digits) {
        return Err(QuantityError::Form);
    }
    let scale = (0..fraction.len()).fold(1u128, |scale, _| scale * 10);
    let scaled: u128 = format!("{whole}{fraction}").parse().map_err(|_| QuantityError::Form)?;
    let bytes = (scaled * u128::from(unit)).div_ceil(scale);
    match u64::try_from(bytes) {
        Ok(0) => Err(QuantityError::Zero),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(QuantityError::Form),
    }
}

fn digits_ok(digits: &str, max: usize) -> bool {
    !digits.is_empty() && digits.len() <= max && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("256Mi", 256 << 20),
            ("1G", 1_000_000_000),
            ("1.5Gi", 3 << 29),
            ("0.5k", 500),
            ("0.0001k", 1),
            ("007Ki", 7 << 10),
            ("999999999999999999", 999_999_999_999_999_999),
            ("999999999999999Ki", 999_999_999_999_999 << 10),
            ("999.999999Pi", 1_125_899_905_716_724_094),
        ] {
            assert_eq!(parse_quantity(text), Ok(bytes), "{text}");
            assert!(i64::try_from(bytes).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_to_write() {
        for text in [
            "",
            "Mi",
            "-1",
            "+1",
            "1.5",
            "1.",
            ".5Gi",
            "1.Gi",
            "1..5Gi",
            "1mi",
            "1m",
            "1e3",
            "1E",
            "1Ei",
            "1 Gi",
            "1Gi ",
            "1KB",
            "1K",
            "1GiB",
            "1,5Gi",
            "1.0000001Gi",
            "1000Pi",
            "1000000Ti",
            "1234567890123456789",
            "१Gi",
            "1\n",
        ] {
            assert_eq!(parse_quantity(text), Err(QuantityError::Form), "{text:?}");
        }
        for text in ["0", "0Gi", "0.0Gi", "000"] {
            assert_eq!(parse_quantity(text), Err(QuantityError::Zero), "{text:?}");
        }
        assert!(QuantityError::Form.to_string().contains("256Mi"));
    }
}
