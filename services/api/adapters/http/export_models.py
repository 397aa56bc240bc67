"""Queries of exports."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from services.api.adapters.http.proof_models import Stream

_ID: Final = r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"
_FILE: Final = r"^(KT_[A-Z]{1,16}-[0-9]{12,16}-[0-9]{12,16}\.[a-z.]{1,20})?$"


class ExportQuery(BaseModel):
    """``resume`` goes on with an export, and takes nothing but ``after``."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    format: Annotated[
        Literal["ndjson", "ocsf", "csv", "parquet"],
        Field(description="`ndjson`: the stored bytes; the others are made from them"),
    ] = "ndjson"
    begins: Annotated[AwareDatetime | None, Field(alias="from", description="Recorded at this time or later")] = None
    ends: Annotated[AwareDatetime | None, Field(alias="to", description="Recorded before this time")] = None
    filter: Annotated[
        str, Field(max_length=4096, description="As of `GET /v1/events`", examples=["category=secret_management"])
    ] = ""
    stream: Annotated[Stream | None, Field(description="Of this stream alone")] = None
    resume: Annotated[str, Field(pattern=_ID, description="The id of an export that was begun")] = ""
    after: Annotated[str, Field(pattern=_FILE, description="The last file of rows that is there")] = ""

    @model_validator(mode="after")
    def _fits(self) -> ExportQuery:
        if self.resume and self.model_fields_set - {"resume", "after"}:
            raise ValueError("resume goes with after alone")
        if self.after and not self.resume:
            raise ValueError("after goes with resume")
        return self
