use crate::row::Row;
pub(crate) fn measure(_wanted: &impl Fn(&str) -> bool) -> anyhow::Result<Vec<Row>> {
    Ok(Vec::new())
}
