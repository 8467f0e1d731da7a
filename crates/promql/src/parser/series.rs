//! The notation of series and their values in rule tests.

use super::literal::unquote;
use super::selector::is_metric_name;
use super::{Fail, Parsed, Parser};
use crate::lexer::{Kind, Token};
use model::{FloatHistogram, Labels};
use std::sync::Arc;

/// Repetitions that make a series longer are refused, for its values are held in memory.
const VALUES_MAX: usize = 1_000_000;

/// One step of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// `_`: no sample.
    Omitted,
    /// A sample; `stale` gives the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The sample.
        histogram: Arc<FloatHistogram>,
        /// Was its counter-reset hint written, even as `unknown`? In a sequence, that of the increment.
        hint_written: bool,
    },
}

impl Parser<'_> {
    pub(super) fn series_description(&mut self) -> Parsed<(Labels, Vec<SequenceValue>)> {
        let labels = self.series_labels()?;
        let mut values = Vec::new();
        while self.accept(Kind::Space).map_err(|fail| self.unexpected(fail, "series values", ""))?.is_some() {
            if !matches!(self.peek()?.kind, Kind::Space | Kind::Eof) {
                self.series_item(&mut values)?;
            }
        }
        Ok((labels, values))
    }

    fn series_labels(&mut self) -> Parsed<Labels> {
        let mut pairs = Vec::new();
        let name = self.peek()?;
        if is_metric_name(name.kind) {
            self.next()?;
        }
        if self.accept(Kind::LeftBrace)?.is_some() {
            while self.accept(Kind::RightBrace)?.is_none() {
                pairs.push(self.series_label()?);
                if self.accept(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightBrace {
                    return Err(self.unexpected(Fail::Unexpected, "label set", r#""," or "}""#));
                }
            }
        }
        if is_metric_name(name.kind) {
            pairs.retain(|(label, _): &(String, String)| label != "__name__");
            pairs.push(("__name__".to_owned(), name.text.to_owned()));
        }
        Ok(Labels::from_pairs(pairs.iter().map(|(label, value)| (label.as_str(), value.as_str()))))
    }

    fn series_label(&mut self) -> Parsed<(String, String)> {
        let name = self.peek()?;
        let label = match name.kind {
            Kind::Identifier => name.text.to_owned(),
            Kind::String => unquote(name.text),
            _ => return Err(self.unexpected(Fail::Unexpected, "label set", r#"identifier or "}""#)),
        };
        self.next()?;
        if self.accept(Kind::Assign)?.is_none() {
            if name.kind == Kind::String {
                return Ok(("__name__".to_owned(), label));
            }
            return Err(self.unexpected(Fail::Unexpected, "label set", r#""=""#));
        }
        let value = self.expect(Kind::String).map_err(|fail| self.unexpected(fail, "label set", "string"))?;
        Ok((label, unquote(value.text)))
    }

    /// A value, or several: `1x3` is 1 and three times more the same, `1+2x3` adds 2 to each; `_x3` is three gaps.
    fn series_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        if self.accept(Kind::Blank)?.is_some() {
            let count = if self.accept(Kind::Times)?.is_some() { self.repetitions(values.len())? } else { 1 };
            values.extend((0..count).map(|_| SequenceValue::Omitted));
            return Ok(());
        }
        if self.peek()?.kind == Kind::OpenHistogram {
            return self.histogram_item(values).map_err(|fail| self.unexpected(fail, "series values", ""));
        }
        let mut value = self.series_value()?;
        let increment = match self.accept_sign()? {
            Some((negative, _)) => {
                let token = self.number_token()?;
                let step = self.number(token)?.value;
                Some(if negative { -step } else { step })
            }
            None => None,
        };
        let more = match (self.accept(Kind::Times)?, increment) {
            (Some(_), _) => self.repetitions(values.len())?,
            (None, Some(_)) => return Err(Fail::Unexpected),
            (None, None) => 0,
        };
        values.push(SequenceValue::Float(value));
        for _ in 0..more {
            if let Some(increment) = increment {
                value += increment;
            }
            values.push(SequenceValue::Float(value));
        }
        Ok(())
    }

    fn series_value(&mut self) -> Parsed<f64> {
        let token = self.peek()?;
        if token.kind == Kind::Identifier {
            if token.text != "stale" {
                return Err(self.unexpected(Fail::Unexpected, "series values", r#"number or "stale""#));
            }
            self.next()?;
            return Ok(model::value::STALE_NAN);
        }
        Ok(self.signed_number()?.value)
    }

    pub(super) fn repetitions(&mut self, held: usize) -> Parsed<usize> {
        let token: Token<'_> = self.expect(Kind::Number)?;
        let (span, text) = (token.span(), token.text.to_owned());
        let quoted = model::name::quote(&text);
        let why = match text.parse::<usize>() {
            Ok(count) if count <= VALUES_MAX.saturating_sub(held) => return Ok(count),
            Ok(_) => "value out of range",
            Err(_) => "invalid syntax",
        };
        Err(self.fail(span, format!("invalid repetition in series values: strconv.ParseUint: parsing {quoted}: {why}")))
    }
}
