package batchfile

import (
	"errors"
	"io"

	"github.com/gocarina/gocsv"
)

// record is one row by our column names, as text. gocsv fills it from the header; what a cell must look like is the
// checker's business, which reports all that is wrong with a row and not only the first thing.
type record struct {
	Reference            string `csv:"reference"`
	Amount               string `csv:"amount"`
	Currency             string `csv:"currency"`
	Name                 string `csv:"name"`
	FirstName            string `csv:"first_name"`
	LastName             string `csv:"last_name"`
	Email                string `csv:"email"`
	Phone                string `csv:"phone"`
	Channels             string `csv:"channels"`
	Language             string `csv:"language"`
	Country              string `csv:"country"`
	Timezone             string `csv:"timezone"`
	DueDate              string `csv:"due_date"`
	ExpiresIn            string `csv:"expires_in"`
	Description          string `csv:"description"`
	CustomerID           string `csv:"customer_id"`
	InvoiceNumber        string `csv:"invoice_number"`
	AttachmentURL        string `csv:"attachment_url"`
	EmailNotification    string `csv:"email_notification"`
	SMSNotification      string `csv:"sms_notification"`
	WhatsAppNotification string `csv:"whatsapp_notification"`
	Rule                 string `csv:"rule"`
	Start                string `csv:"start"`
	EndRecurringPeriod   string `csv:"end_recurring_period"`
}

// A chunk is what is mapped at once: enough rows that gocsv's set-up does not count, few enough that memory stays flat.
const (
	chunkRows  = 256
	chunkBytes = maxRecord
)

// chunk is a run of records. To gocsv it is a CSV reader (gocsv.CSVReader) over a small file with a canonical header, so
// records and what gocsv makes of them stay side by side by index. gocsv's streaming entries would need a goroutine and
// a channel for each file, and cannot carry the raw record and its line along.
type chunk struct {
	names   []string // our name of each column
	items   []item
	records []*record
	read    int
	rows    [][]string
}

var _ gocsv.CSVReader = (*chunk)(nil)

// Read gives the header, then a record a call.
func (c *chunk) Read() ([]string, error) {
	c.read++
	switch {
	case c.read == 1:
		return c.names, nil
	case c.read <= len(c.items)+1:
		return c.items[c.read-2].cells, nil
	}
	return nil, io.EOF
}

// ReadAll gives the header and all records.
func (c *chunk) ReadAll() ([][]string, error) {
	c.rows, c.read = c.rows[:0], 0
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return c.rows, nil
		}
		c.rows = append(c.rows, row)
	}
}

// bind has gocsv fill records from items.
func (c *chunk) bind() error {
	c.records = c.records[:cap(c.records)]
	return gocsv.UnmarshalCSV(c, &c.records)
}
