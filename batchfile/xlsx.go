package batchfile

import (
	"archive/zip"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"
)

// Limits of a workbook. A sheet unpacks to about 700 bytes a row, so a full one fits; the compressed file is held in
// memory, unpacked sheets and shared strings above 16 MiB lie in temporary files (TMPDIR) until Close, and everything
// else in the archive must be small because it is held in memory, too.
const (
	maxWorkbook     = 256 << 20
	maxUnpacked     = 1 << 30
	maxUnpackedRest = 64 << 20
	spoolAbove      = 16 << 20
)

// xlsxSource reads one sheet. Two cursors go through it side by side: one for what a cell holds, one for what it shows.
// Amounts, phones and due dates are taken as held (shown, a number loses digits to its format); all else as shown, since
// a template should print a date or a percentage and not Excel's serial number for it.
type xlsxSource struct {
	file        *excelize.File
	held, shown *excelize.Rows
	head        []string
	line        int
	since1904   bool
	amount      int // column indexes, -1 if there is none
	phone, due  int
}

func newXLSX(f io.ReaderAt, size int64, sheet string) (s *xlsxSource, line int, err error) {
	// The library is built for workbooks from Excel; a hostile one must not take the process down.
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, brokenWorkbook()
		}
	}()
	if err := checkArchive(f, size); err != nil {
		return nil, 0, err
	}
	book, err := excelize.OpenReader(io.NewSectionReader(f, 0, size), excelize.Options{
		UnzipSizeLimit:    maxUnpacked,
		UnzipXMLSizeLimit: spoolAbove,
		// Cells in the locale's short date show as this, not month first as in the US.
		ShortDatePattern: "yyyy-mm-dd",
	})
	if err != nil {
		return nil, 0, brokenWorkbook()
	}
	s = &xlsxSource{file: book, amount: -1, phone: -1, due: -1}
	if line, err = s.open(sheet); err != nil {
		_ = s.close() // the error at hand says more
		return nil, 0, err
	}
	return s, line, nil
}

// checkArchive looks into the archive's list before anything is unpacked.
func checkArchive(f io.ReaderAt, size int64) error {
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return brokenWorkbook()
	}
	var all, rest uint64
	workbook := false
	for _, part := range archive.File {
		name := strings.ToLower(strings.ReplaceAll(part.Name, `\`, "/"))
		workbook = workbook || name == "xl/workbook.xml"
		all += part.UncompressedSize64
		if !strings.HasPrefix(name, "xl/worksheets/sheet") && name != "xl/sharedstrings.xml" {
			rest += part.UncompressedSize64
		}
		if part.UncompressedSize64 > maxUnpacked || all > maxUnpacked || rest > maxUnpackedRest || size > maxWorkbook {
			return &FileError{0, "the workbook is too large", "save the sheet as CSV, which has no limit of size"}
		}
	}
	if !workbook {
		return &FileError{0, "the file is a ZIP archive, but not an XLSX workbook", "unpack it, and send the file inside"}
	}
	return nil
}

func brokenWorkbook() error {
	return &FileError{0, "the workbook cannot be read", "save it again as .xlsx without a password, or as CSV"}
}

func (s *xlsxSource) open(sheet string) (line int, err error) {
	sheets := s.file.GetSheetList()
	switch {
	case len(sheets) == 0:
		return 0, brokenWorkbook()
	case sheet == "":
		sheet = sheets[0]
	case !slices.Contains(sheets, sheet):
		return 0, &FileError{0, fmt.Sprintf("the workbook has no sheet %q", clip(sheet)), "it has " + clip(strings.Join(sheets, ", "))}
	}
	if props, err := s.file.GetWorkbookProps(); err == nil && props.Date1904 != nil {
		s.since1904 = *props.Date1904
	}
	if s.held, err = s.file.Rows(sheet); err != nil {
		return 0, brokenWorkbook()
	}
	if s.shown, err = s.file.Rows(sheet); err != nil {
		return 0, brokenWorkbook()
	}
	for {
		head, err := s.next()
		switch {
		case err == io.EOF:
			return 0, &FileError{0, "the sheet is empty", "the first row must name the columns, the payers follow below"}
		case err != nil:
			return 0, err
		case head.problem != nil:
			return 0, &FileError{head.line, "in the header, " + head.problem.reason, head.problem.hint}
		case !blank(head.cells):
			s.head = trimEmpty(head.cells)
			return head.line, nil
		}
	}
}

// understand tells the source which of its columns are taken as the cell holds them.
func (s *xlsxSource) understand(c *columns) {
	find := func(as string) int {
		if i, ok := c.at[as]; ok {
			return i
		}
		return -1
	}
	s.amount, s.phone, s.due = find("amount"), find("phone"), find("due_date")
}

func (s *xlsxSource) header() []string { return s.head }

func (s *xlsxSource) next() (rec item, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &FileError{s.line, "the sheet cannot be read from here on", "save the sheet as CSV"}
		}
	}()
	if !s.held.Next() || !s.shown.Next() {
		if s.held.Error() != nil || s.shown.Error() != nil {
			return rec, &FileError{s.line, "the sheet cannot be read from here on", "save the sheet as CSV"}
		}
		return rec, io.EOF
	}
	s.line++
	rec.line = s.line
	held, err := s.held.Columns(excelize.Options{RawCellValue: true})
	if err != nil {
		return rec, &FileError{s.line, "the row cannot be read", "save the sheet as CSV"}
	}
	cells, err := s.shown.Columns()
	if err != nil {
		return rec, &FileError{s.line, "the row cannot be read", "save the sheet as CSV"}
	}
	size := 0
	for i := range cells {
		if i < len(held) {
			cells[i] = s.choose(i, held[i], cells[i])
		}
		size += len(cells[i])
	}
	switch {
	case size > maxRecord:
		rec.problem = &problem{"size", "", "the record is larger than 1 MiB", "shorten it"}
		return rec, nil
	case s.head == nil || blank(cells):
		rec.cells = cells
		return rec, nil
	}
	rec.cells = cells
	if n := len(trimEmpty(cells)); n > len(s.head) {
		rec.problem = miscount(n, len(s.head), 1)
		rec.problem.hint = "delete what stands to the right of the table, or give it a column name"
		return rec, nil
	}
	// A sheet does not store empty cells at a row's end.
	for len(rec.cells) < len(s.head) {
		rec.cells = append(rec.cells, "")
	}
	return rec, nil
}

func (s *xlsxSource) choose(column int, held, shown string) string {
	switch column {
	case s.amount:
		return decimal(held)
	case s.phone:
		return held
	case s.due:
		return s.date(held)
	}
	if strings.Contains(shown, "E+") && !strings.Contains(held, "E+") {
		return held // a long number in a narrow format
	}
	return shown
}

// date turns Excel's count of days into a date; text stays as it is.
func (s *xlsxSource) date(held string) string {
	days, err := strconv.ParseFloat(held, 64)
	if err != nil || days < 20000 || days > 80000 { // 1954 to 2119: anything else is no due date
		return held
	}
	t, err := excelize.ExcelDateToTime(float64(int(days)), s.since1904)
	if err != nil {
		return held
	}
	return t.Format("2006-01-02")
}

// decimal undoes the binary form in which Excel stores a decimal that somebody typed: 1.1 is kept as
// 1.1000000000000001, and 0.001 as 1E-3. Excel itself shows fifteen digits. Anything else is left for the amount's own
// check to judge; nothing with up to fifteen digits is ever changed.
func decimal(held string) string {
	whole, frac, point := strings.Cut(held, ".")
	tiny := strings.Contains(held, "E-")
	if !tiny && (!point || len(strings.TrimLeft(whole+frac, "0")) <= 15) {
		return held
	}
	f, err := strconv.ParseFloat(held, 64)
	if err != nil || f <= 0 {
		return held
	}
	fifteen, err := strconv.ParseFloat(strconv.FormatFloat(f, 'e', 14, 64), 64)
	if err != nil {
		return held
	}
	return strconv.FormatFloat(fifteen, 'f', -1, 64)
}

func (s *xlsxSource) close() error {
	var first error
	for _, rows := range []*excelize.Rows{s.held, s.shown} {
		if rows != nil {
			if err := rows.Close(); err != nil && first == nil {
				first = err
			}
		}
	}
	if err := s.file.Close(); err != nil && first == nil {
		first = err
	}
	if first != nil {
		return fmt.Errorf("closing the workbook: %w", first)
	}
	return nil
}
