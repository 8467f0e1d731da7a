//! Native histograms in the notation of series: `{{schema:1 sum:3 count:4 buckets:[1 2 1]}}`.

use super::{Fail, Parsed, Parser, SequenceValue};
use crate::ast::{BinaryOp, Span};
use crate::lexer::Kind;
use model::FloatHistogram;
use model::histogram::{ResetHint, Span as Buckets};
use std::sync::Arc;

/// A histogram as written.
struct Written {
    histogram: FloatHistogram,
    hint_written: bool,
}

impl Parser<'_> {
    /// One histogram, or several: `{{…}}x3`, `{{…}}+{{…}}x3`.
    pub(super) fn histogram_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        let base = self.histogram()?;
        let value =
            |histogram: &Arc<FloatHistogram>, hint_written| SequenceValue::Histogram { histogram: Arc::clone(histogram), hint_written };
        let mut current = Arc::new(base.histogram);
        let op = match self.peek()?.kind {
            Kind::Times => {
                self.next()?;
                let more = self.repetitions(values.len())?;
                values.extend((0..=more).map(|_| value(&current, base.hint_written)));
                return Ok(());
            }
            Kind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub)) => op,
            _ => {
                values.push(value(&current, base.hint_written));
                return Ok(());
            }
        };
        self.next()?;
        let increment = self.histogram()?;
        self.expect(Kind::Times)?;
        let start = self.peek()?.span();
        let more = self.repetitions(values.len())?;
        values.push(value(&current, increment.hint_written));
        for _ in 0..more {
            current = self.combined(&current, &increment.histogram, op, start)?;
            values.push(value(&current, increment.hint_written));
        }
        Ok(())
    }

    fn combined(&self, current: &FloatHistogram, increment: &FloatHistogram, op: BinaryOp, span: Span) -> Parsed<Arc<FloatHistogram>> {
        if current.schema > increment.schema {
            let message = format!("error combining histograms: cannot merge from schema {} to {}", increment.schema, current.schema);
            return Err(self.fail(span, message));
        }
        let mut next = current.clone();
        let outcome = if op == BinaryOp::Add { next.add(increment) } else { next.subtract(increment) };
        outcome.map_err(|error| self.fail(span, error.to_string()))?;
        Ok(Arc::new(next))
    }

    fn histogram(&mut self) -> Parsed<Written> {
        self.expect(Kind::OpenHistogram)?;
        let mut written = Written { histogram: FloatHistogram::default(), hint_written: false };
        let (mut offset, mut negative_offset) = (0, 0);
        let mut seen: Vec<String> = Vec::new();
        loop {
            self.accept(Kind::Space)?;
            if self.accept(Kind::CloseHistogram)?.is_some() {
                break;
            }
            let key = self.expect(Kind::HistogramWord).map_err(|fail| match seen.is_empty() {
                true => fail,
                false => self.unexpected(fail, "histogram description", "histogram description key, e.g. buckets:[5 10 7]"),
            })?;
            self.expect(Kind::Colon)?;
            let name = key.text.to_ascii_lowercase();
            if seen.contains(&name) {
                return Err(self.fail(Span::default(), format!("duplicate key \"{name}\" in histogram")));
            }
            let histogram = &mut written.histogram;
            match name.as_str() {
                "schema" => histogram.schema = self.histogram_integer()?,
                "sum" => histogram.sum = self.signed_number()?.value,
                "count" => histogram.count = self.signed_number()?.value,
                "z_bucket" => histogram.zero_count = self.signed_number()?.value,
                "z_bucket_w" => histogram.zero_threshold = self.signed_number()?.value,
                "custom_values" => histogram.custom_values = self.bucket_set()?.into(),
                "buckets" => histogram.positive_counts = self.bucket_set()?,
                "offset" => offset = self.histogram_integer()?,
                "n_buckets" => histogram.negative_counts = self.bucket_set()?,
                "n_offset" => negative_offset = self.histogram_integer()?,
                "counter_reset_hint" => {
                    histogram.reset_hint = self.reset_hint()?;
                    written.hint_written = true;
                }
                _ => return Err(Fail::Unexpected),
            }
            seen.push(name);
            if !matches!(self.peek()?.kind, Kind::Space | Kind::CloseHistogram) {
                return Err(self.unexpected(Fail::Unexpected, "histogram description", "histogram description key, e.g. buckets:[5 10 7]"));
            }
        }
        let histogram = &mut written.histogram;
        histogram.positive_spans = one_span(offset, &histogram.positive_counts);
        histogram.negative_spans = one_span(negative_offset, &histogram.negative_counts);
        Ok(written)
    }

    fn bucket_set(&mut self) -> Parsed<Vec<f64>> {
        self.expect(Kind::LeftBracket)?;
        let mut numbers = vec![self.signed_number()?.value];
        loop {
            self.accept(Kind::Space)?;
            if self.accept(Kind::RightBracket)?.is_some() {
                return Ok(numbers);
            }
            numbers.push(self.signed_number()?.value);
        }
    }

    fn histogram_integer(&mut self) -> Parsed<i32> {
        let number = self.signed_number()?;
        if number.value.fract() != 0.0 || number.value.abs() > f64::from(i32::MAX) {
            return Err(self.fail(number.span, "error parsing number: invalid syntax"));
        }
        Ok(number.value as i32)
    }

    fn reset_hint(&mut self) -> Parsed<ResetHint> {
        let word = self.expect(Kind::HistogramWord)?;
        match word.text.to_ascii_lowercase().as_str() {
            "unknown" => Ok(ResetHint::Unknown),
            "reset" => Ok(ResetHint::Reset),
            "not_reset" => Ok(ResetHint::NoReset),
            "gauge" => Ok(ResetHint::Gauge),
            _ => Err(Fail::Unexpected),
        }
    }
}

/// All buckets are neighbours; without buckets there is no span.
fn one_span(offset: i32, counts: &[f64]) -> Arc<[Buckets]> {
    match u32::try_from(counts.len()) {
        Ok(len) if len > 0 => [Buckets { offset, len }].into(),
        _ => Arc::default(),
    }
}
