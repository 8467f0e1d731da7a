//! A plan as a tree to be looked at: what a node is, what is below it, what the planner did to it.

use super::{Kind, Plan, Selector, WindowSource, Windows};
use crate::ast::{AggregateOp, Cardinality, Span};

impl Plan {
    /// Does the order of its series in an instant query come from the query?
    pub fn keeps_order(&self) -> bool {
        match &self.kind {
            Kind::Sort { .. } => true,
            Kind::Aggregate { aggregate, .. } => matches!(aggregate.op, AggregateOp::TopK | AggregateOp::BottomK),
            Kind::Elementwise { input, .. }
            | Kind::HistogramNumber { input, .. }
            | Kind::Negate(input)
            | Kind::Plus(input)
            | Kind::StepTime(input)
            | Kind::LabelReplace { input, .. }
            | Kind::LabelJoin { input, .. } => input.keeps_order(),
            Kind::VectorScalar { vector, .. } => vector.keeps_order(),
            Kind::VectorBinary { left, right, matching, .. } => match matching.cardinality {
                Cardinality::OneToMany => right.keeps_order(),
                _ => left.keeps_order(),
            },
            _ => false,
        }
    }

    /// Do its series pass one by one, without all of them being held?
    pub fn streams(&self) -> bool {
        match &self.kind {
            Kind::Selector(_) | Kind::SampleTime(_) | Kind::SampleStart(_) => true,
            Kind::Window { windows, .. } => windows.inner().is_none_or(Plan::streams),
            Kind::Elementwise { input, .. }
            | Kind::HistogramNumber { input, .. }
            | Kind::Negate(input)
            | Kind::Plus(input)
            | Kind::StepTime(input)
            | Kind::Sort { input, .. }
            | Kind::LabelReplace { input, .. }
            | Kind::LabelJoin { input, .. } => input.streams(),
            Kind::VectorScalar { vector, .. } => vector.streams(),
            Kind::Aggregate { aggregate, input, .. } => aggregate.op == AggregateOp::LimitRatio && input.streams(),
            _ => false,
        }
    }

    /// Parameters that Prometheus evaluates after a subquery, although they stand before it, with the place of what it takes.
    pub fn late_parameters(&self) -> Vec<(Span, Span)> {
        let mut late: Vec<(Span, Span)> = self.children().into_iter().flat_map(Plan::late_parameters).collect();
        if let Kind::Window { windows, parameters, .. } = &self.kind
            && let Some(inner) = windows.inner()
        {
            late.extend(
                parameters.iter().map(|parameter| (parameter.span, inner.span)).filter(|(parameter, inner)| parameter.end < inner.end),
            );
        }
        late
    }

    /// What it is made from, in the order of the text.
    pub fn children(&self) -> Vec<&Plan> {
        match &self.kind {
            Kind::Number(_)
            | Kind::String(_)
            | Kind::Selector(_)
            | Kind::SampleTime(_)
            | Kind::SampleStart(_)
            | Kind::Time
            | Kind::Calendar(_) => Vec::new(),
            Kind::Windows(windows) | Kind::AbsentOverTime { windows } => windows.inner().into_iter().collect(),
            Kind::Window { windows, parameters, .. } => windows.inner().into_iter().chain(parameters).collect(),
            Kind::Elementwise { input, parameters, .. } => std::iter::once(&**input).chain(parameters).collect(),
            Kind::Negate(input)
            | Kind::Plus(input)
            | Kind::StepTime(input)
            | Kind::NoStarts(input)
            | Kind::ScalarOf(input)
            | Kind::VectorOf(input)
            | Kind::Absent { input, .. }
            | Kind::Sort { input, .. }
            | Kind::Info { input, .. }
            | Kind::LabelReplace { input, .. }
            | Kind::LabelJoin { input, .. }
            | Kind::HistogramNumber { input, .. } => vec![input],
            Kind::HistogramQuantile { quantile, input } => vec![quantile, input],
            Kind::HistogramQuantiles { input, quantiles, .. } => std::iter::once(&**input).chain(quantiles).collect(),
            Kind::HistogramFraction { lower, upper, input } => vec![lower, upper, input],
            Kind::Aggregate { input, parameter, .. } => parameter.iter().map(|parameter| &**parameter).chain([&**input]).collect(),
            Kind::ScalarExtreme { left, right, .. } | Kind::ScalarBinary { left, right, .. } | Kind::VectorBinary { left, right, .. } => {
                vec![left, right]
            }
            Kind::VectorScalar { vector, scalar, scalar_left: true, .. } => vec![scalar, vector],
            Kind::VectorScalar { vector, scalar, .. } => vec![vector, scalar],
        }
    }

    /// What it does, in a word or two.
    pub fn operation(&self) -> String {
        match &self.kind {
            Kind::Number(value) => format!("number {}", model::number::format_plain(*value)),
            Kind::String(_) => "string".into(),
            Kind::Selector(_) => "select".into(),
            Kind::SampleTime(_) => "select times".into(),
            Kind::SampleStart(_) => "select start times".into(),
            Kind::Windows(_) => "select windows".into(),
            Kind::Window { function, .. } => format!("window {function:?}").to_lowercase(),
            Kind::AbsentOverTime { .. } => "window absent".into(),
            Kind::Elementwise { .. } => "function of each sample".into(),
            Kind::Negate(_) => "negate".into(),
            Kind::Absent { .. } => "absent".into(),
            Kind::StepTime(_) | Kind::Time => "time of the step".into(),
            Kind::Calendar(_) => "date of the step".into(),
            Kind::ScalarOf(_) => "scalar".into(),
            Kind::VectorOf(_) => "vector".into(),
            Kind::Sort { .. } => "sort".into(),
            Kind::ScalarExtreme { .. } | Kind::ScalarBinary { .. } => "arithmetic of scalars".into(),
            Kind::NoStarts(_) | Kind::Plus(_) => "nothing".into(),
            Kind::Info { .. } => "join with info metrics".into(),
            Kind::LabelReplace { .. } | Kind::LabelJoin { .. } => "relabel".into(),
            Kind::HistogramNumber { .. } => "number of each histogram".into(),
            Kind::HistogramQuantile { .. } | Kind::HistogramQuantiles { .. } => "quantile of buckets".into(),
            Kind::HistogramFraction { .. } => "fraction of buckets".into(),
            Kind::Aggregate { aggregate, .. } => {
                let side = if aggregate.without { "without" } else { "by" };
                format!("aggregate {} {side} ({})", aggregate.op.as_str(), aggregate.grouping.join(", "))
            }
            Kind::VectorScalar { op, .. } => format!("vector {} scalar", op.as_str()),
            Kind::VectorBinary { op, .. } => format!("join {}", op.as_str()),
        }
    }

    /// What was pushed down to it, is done once only, or has to be held.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.invariant && !matches!(self.kind, Kind::Number(_) | Kind::String(_)) {
            notes.push("evaluated once for all steps".into());
        }
        match &self.kind {
            Kind::Selector(Selector { totals_only: true, .. })
            | Kind::Windows(Windows { totals_only: true, .. })
            | Kind::Window { windows: Windows { totals_only: true, .. }, .. } => {
                notes.push("of histograms only counts and sums are read".into());
            }
            Kind::Aggregate { aggregate, .. } => notes.push(
                match aggregate.op {
                    AggregateOp::Quantile | AggregateOp::CountValues => "holds all values of a group",
                    AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK => "holds k values of each group and step",
                    AggregateOp::LimitRatio => "passes series on",
                    _ => "streams: holds one value for each group and step",
                }
                .into(),
            ),
            Kind::Sort { .. } => notes.push("holds all its input".into()),
            _ => {}
        }
        notes
    }
}

impl Windows {
    /// What a subquery evaluates.
    fn inner(&self) -> Option<&Plan> {
        match &self.source {
            WindowSource::Subquery(inner, _) => Some(inner),
            WindowSource::Selector(_) => None,
        }
    }
}
