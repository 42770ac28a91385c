"""What DelRec is compared with, one module a paper."""
