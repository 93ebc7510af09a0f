// Package pages reads the Markdown pages of this repository for the tests that
// hold them against the code: where their links lead, what their code blocks
// say, and whether what is generated in them is current. It is for tests alone.
package pages
