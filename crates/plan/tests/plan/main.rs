//! The planner's rules as scripts, and its promises under random histories.

#[cfg(test)]
mod budgeting;
#[cfg(test)]
mod guarding;
#[cfg(test)]
mod history;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod placing;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod replacing;
#[cfg(test)]
mod scaling;
#[cfg(test)]
mod summing;
#[cfg(test)]
mod world;
