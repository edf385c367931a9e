"""The operations that JavaScript asks the worker for, by name, with plain values in and out.

`worker.Worker` merges the groups: `disk_operations`, `library_operations`, `file_operations`,
`activity_operations`, `doctor_operations`, `page_operations`, `save_operations`,
`shared_operations` and `panel_session`.
"""
